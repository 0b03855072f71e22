/*
 * http.c - One HTTP exchange with kronosq-api, by libcurl.
 */
#include "cli/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api_key.h"

#define CONNECT_TIMEOUT_SECONDS 5L
#define URL_MAX                 2048

struct body {
    char *text;
    size_t len;
};

/* A piece of the reply has arrived. */
static size_t
on_data(char *data, size_t size, size_t n, void *cookie)
{
    struct body *body = cookie;
    size_t more = size * n; /* libcurl passes size 1 */
    char *text;

    if (more > HTTP_REPLY_MAX - body->len)
        return 0;
    if ((text = realloc(body->text, body->len + more + 1)) == NULL)
        return 0;
    memcpy(text + body->len, data, more);
    body->text = text;
    body->len += more;
    text[body->len] = '\0';
    return more;
}

static char *authorization; /* the header line with the API key; NULL: none */

int
http_use_key(const char *origin, const char *key, size_t len, struct error *err)
{
    if (!api_key_is_well_formed(key, len))
        return error_set(err, ERR_INVALID,
            "%.100s holds no API key: %s and at least %d letters and digits", origin,
            API_KEY_PREFIX, API_KEY_RANDOM_MIN);
    http_forget_key();
    if (asprintf(&authorization, "Authorization: Bearer %.*s", (int)len, key) == -1) {
        authorization = NULL;
        return error_set(err, ERR_MEMORY, "out of memory");
    }
    return 0;
}

void
http_forget_key(void)
{
    if (authorization == NULL)
        return;
    explicit_bzero(authorization, strlen(authorization));
    free(authorization);
    authorization = NULL;
}

int
http_exchange(const char *server, const char *method, const char *path, const char *body,
    int timeout_seconds, struct http_reply *reply, struct error *err)
{
    char url[URL_MAX], reason[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    struct body got = {0};
    CURLcode code;
    CURL *curl;
    int status = -1;

    *reply = (struct http_reply){0};
    if ((size_t)snprintf(url, sizeof(url), "%s%s", server, path) >= sizeof(url))
        return error_set(err, ERR_INVALID, "the server's URL has more than %d characters", URL_MAX);
    if ((curl = curl_easy_init()) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    headers = curl_slist_append(headers, "Accept: application/json");
    if (body != NULL && headers != NULL)
        headers = curl_slist_append(headers, "Content-Type: application/json");
    if (authorization != NULL && headers != NULL)
        headers = curl_slist_append(headers, authorization);
    if (headers == NULL) {
        error_set(err, ERR_MEMORY, "out of memory");
        goto done;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)timeout_seconds);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got);
    if (body != NULL)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);

    if ((code = curl_easy_perform(curl)) != CURLE_OK) {
        error_set(err, ERR_UNAVAILABLE, "%s: %s", server,
            reason[0] != '\0' ? reason : curl_easy_strerror(code));
        goto done;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    if (got.len > 0)
        reply->body = cJSON_ParseWithLength(got.text, got.len);
    status = 0;

done:
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(got.text);
    return status;
}

void
http_reply_clear(struct http_reply *reply)
{
    cJSON_Delete(reply->body);
    *reply = (struct http_reply){0};
}

int
http_reply_error(const struct http_reply *reply, struct error *err)
{
    const cJSON *errors = cJSON_GetObjectItemCaseSensitive(reply->body, "errors");
    const cJSON *detail = cJSON_GetObjectItemCaseSensitive(reply->body, "detail");
    const cJSON *fault;
    char text[ERROR_TEXT_MAX] = "";
    size_t len = 0;

    cJSON_ArrayForEach(fault, errors)
    {
        const char *pointer =
            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(fault, "pointer"));
        const char *what = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(fault, "detail"));

        if (len >= sizeof(text))
            break;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s: %s", len > 0 ? "; " : "",
            pointer != NULL ? pointer : "#", what != NULL ? what : "refused");
    }
    if (len == 0 && cJSON_IsString(detail))
        snprintf(text, sizeof(text), "%s", detail->valuestring);
    return error_set(err, reply->status == 404 ? ERR_NOT_FOUND : ERR_INVALID,
        "the server answered %ld: %s", reply->status, text[0] != '\0' ? text : "without a reason");
}
