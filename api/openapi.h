/*
 * openapi.h - schemas/openapi.yaml as JSON, put into the program by scripts/embed-openapi.
 */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include <stddef.h>

extern const char openapi_json[];
extern const size_t openapi_size;
extern const char openapi_etag[]; /* quoted, as in the header */

#endif /* API_OPENAPI_H */
