/*
 * show_openapi.c - GET /openapi.json: what this program serves, as it was built.
 */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/media.h"
#include "api/openapi.h"
#include "api/reply.h"

void
get_openapi(struct exchange *e, const char *param)
{
    bool is_known = reply_is_known(e, openapi_etag);
    struct error err;
    char *copy = NULL;

    (void)param;
    if (!is_known && (copy = malloc(openapi_size)) == NULL) {
        error_set(&err, ERR_MEMORY, "no memory for the OpenAPI document");
        reply_error(e, &err);
        return;
    }
    reply_header(e, "ETag", openapi_etag);
    reply_header(e, "Cache-Control", "no-cache"); /* ask each time: it changes with the program */
    if (is_known) {
        reply_nothing(e, 304);
    } else {
        memcpy(copy, openapi_json, openapi_size);
        reply_bytes(e, 200, MEDIA_JSON, copy, openapi_size);
    }
}
