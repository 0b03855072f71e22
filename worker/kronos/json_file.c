/*
 * json_file.c - Read JSON that somebody else wrote: bounded, complete, no name twice.
 *
 * cJSON itself keeps the last of two equal names reachable or the first, as the caller
 * searches, and stops reading at the end of the first value: two readers of one file
 * could then see two different configs. Both are refused here. cJSON bounds the nesting
 * (1,000), which bounds the recursion below.
 */
#include "worker/kronos/json_file.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/kronos/regular_file.h"

#define NAME_SHOWN 80 /* bytes of a foreign name in an error text */

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, because a foreign header may hold tens of thousands of names. */
static int
check_names_once(const cJSON *object, struct error *err)
{
    const cJSON *item;
    const char **names;
    size_t n = 0;
    int status = 0;

    cJSON_ArrayForEach(item, object) n++;
    if (n < 2)
        return 0;
    if ((names = malloc(n * sizeof(*names))) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory for %zu names", n);
    n = 0;
    cJSON_ArrayForEach(item, object) names[n++] = item->string;
    qsort(names, n, sizeof(*names), compare_names);
    for (size_t i = 1; i < n && status == 0; i++) {
        if (strcmp(names[i - 1], names[i]) == 0)
            status = error_set(
                err, ERR_INVALID, "the name \"%.*s\" stands there twice", NAME_SHOWN, names[i]);
    }
    free(names);
    return status;
}

static int
check_names(const cJSON *value, struct error *err)
{
    const cJSON *item;

    if (cJSON_IsObject(value) && check_names_once(value, err) == -1)
        return -1;
    cJSON_ArrayForEach(item, value)
    {
        if ((cJSON_IsObject(item) || cJSON_IsArray(item)) && check_names(item, err) == -1)
            return -1;
    }
    return 0;
}

static bool
is_blank(const char *text, const char *end)
{
    for (; text < end; text++) {
        if (*text != ' ' && *text != '\t' && *text != '\n' && *text != '\r')
            return false;
    }
    return true;
}

cJSON *
json_file_parse(const char *text, size_t length, struct error *err)
{
    const char *end = NULL;
    cJSON *root;

    if ((root = cJSON_ParseWithLengthOpts(text, length, &end, false)) == NULL) {
        error_set(err, ERR_INVALID, "not JSON, or out of memory, at byte %zu",
            end == NULL ? (size_t)0 : (size_t)(end - text));
        return NULL;
    }
    if (!cJSON_IsObject(root)) {
        error_set(err, ERR_INVALID, "JSON, but not an object");
        goto refuse;
    }
    if (!is_blank(end, text + length)) {
        error_set(err, ERR_INVALID, "something follows the JSON object at byte %zu",
            (size_t)(end - text));
        goto refuse;
    }
    if (check_names(root, err) == -1)
        goto refuse;
    return root;

refuse:
    cJSON_Delete(root);
    return NULL;
}

/* Read exactly ${n} bytes; a file that shrinks meanwhile is refused. */
static int
read_all(int fd, char *text, size_t n, const char *path, struct error *err)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = read(fd, text + done, n - done);

        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return error_errno(err, "read %s", path);
        if (got == 0)
            return error_set(err, ERR_SYSTEM, "%s became shorter while it was read", path);
        done += (size_t)got;
    }
    return 0;
}

cJSON *
json_file_read(const char *path, size_t max_bytes, struct error *err)
{
    struct error why;
    cJSON *root = NULL;
    size_t size;
    char *text;
    int fd;

    if ((fd = regular_file_open(path, &size, err)) == -1)
        return NULL;
    if (size > max_bytes) {
        error_set(err, ERR_INVALID, "%s has %zu bytes, the limit is %zu", path, size, max_bytes);
        goto close_file;
    }
    if ((text = malloc(size + 1)) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for %s", path);
        goto close_file;
    }
    if (read_all(fd, text, size, path, err) == -1)
        goto free_text;
    if ((root = json_file_parse(text, size, &why)) == NULL)
        error_set(err, why.code, "%s: %s", path, why.text);

free_text:
    free(text);
close_file:
    close(fd);
    return root;
}

int
json_file_size(const cJSON *value, uint64_t *out)
{
    double number;

    if (!cJSON_IsNumber(value))
        return -1;
    number = value->valuedouble;
    if (!(number >= 0.0 && number <= 9007199254740992.0) || floor(number) < number)
        return -1;
    *out = (uint64_t)number;
    return 0;
}

int
json_file_uint(const cJSON *object, const char *name, uint32_t min, uint32_t max, uint32_t *out,
    struct error *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    uint64_t number;

    if (value == NULL)
        return error_set(err, ERR_INVALID, "%s is missing", name);
    if (json_file_size(value, &number) == -1 || number < min || number > max)
        return error_set(err, ERR_INVALID, "%s must be an integer from %u to %u", name, min, max);
    *out = (uint32_t)number;
    return 0;
}
