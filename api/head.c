/*
 * head.c - The header block of a request, judged byte by byte.
 *
 * Lines are judged when their CR LF arrives, single bytes at once, so a TLS hello or a
 * HTTP/0.9 line is answered without waiting for a block that will never end. Everything
 * that two readers of HTTP could understand differently is refused: that is where one
 * request becomes two.
 */
#include "api/head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_FIRST_CAPACITY 512 /* most blocks fit; the rest grow by doubling */

/* RFC 9110 section 5.6.2: tchar */
static bool
is_token_byte(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

struct head *
head_new(int64_t body_max)
{
    struct head *head = calloc(1, sizeof(*head));

    if (head == NULL)
        return NULL;
    head->content_length = -1;
    head->body_max = body_max;
    return head;
}

void
head_free(struct head *head)
{
    if (head == NULL)
        return;
    free(head->block);
    free(head);
}

static enum head_verdict
refuse(struct problem *problem, int status, const char *code, const char *detail)
{
    problem_set(problem, status, code, "%s", detail);
    problem->closes = true;
    return HEAD_REFUSED;
}

static enum head_verdict
malformed(struct problem *problem, const char *detail)
{
    return refuse(problem, 400, "malformed_request", detail);
}

static enum head_verdict
too_large(struct problem *problem, int64_t limit_bytes)
{
    problem_set(problem, 413, "body_too_large", "the body is larger than %lld bytes",
        (long long)limit_bytes);
    problem->closes = true;
    problem_extra(problem, "limit_bytes", cJSON_CreateNumber((double)limit_bytes));
    return HEAD_REFUSED;
}

static int
append(struct head *head, char c)
{
    if (head->size == head->capacity) {
        size_t capacity = head->capacity == 0 ? HEAD_FIRST_CAPACITY : head->capacity * 2;
        char *block = realloc(head->block, capacity);

        if (block == NULL)
            return -1;
        head->block = block;
        head->capacity = capacity;
    }
    head->block[head->size++] = c;
    return 0;
}

static enum head_method
method_from_text(const char *text)
{
    static const struct {
        const char *text;
        enum head_method method;
    } methods[] = {
        {"GET", HEAD_METHOD_GET},
        {"HEAD", HEAD_METHOD_HEAD},
        {"POST", HEAD_METHOD_POST},
        {"PUT", HEAD_METHOD_PUT},
        {"PATCH", HEAD_METHOD_PATCH},
        {"DELETE", HEAD_METHOD_DELETE},
        {"OPTIONS", HEAD_METHOD_OPTIONS},
        {"TRACE", HEAD_METHOD_TRACE},
        {"CONNECT", HEAD_METHOD_CONNECT},
    };

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(text, methods[i].text) == 0)
            return methods[i].method;
    return HEAD_METHOD_UNKNOWN;
}

/* "HTTP/1.1": the version is judged before the target, so that PRI * HTTP/2.0 is a 505. */
static enum head_verdict
judge_version(struct head *head, const char *text, struct problem *problem)
{
    if (strncmp(text, "HTTP/", 5) != 0 || text[5] < '0' || text[5] > '9' || text[6] != '.' ||
        text[7] < '0' || text[7] > '9' || text[8] != '\0')
        return malformed(
            problem, "the request line is not: method, space, target, space, HTTP version");
    if (text[5] != '1' || text[7] > '1')
        return refuse(
            problem, 505, "version_not_supported", "only HTTP/1.0 and HTTP/1.1 are spoken here");
    head->minor = (uint8_t)(text[7] - '0');
    head->wants_close = head->minor == 0;
    return HEAD_MORE;
}

static enum head_verdict
judge_target(struct head *head, char *target, struct problem *problem)
{
    size_t len = strlen(target);
    char *question;

    if (len > HEAD_TARGET_MAX)
        return refuse(problem, 414, "uri_too_long", "the target is longer than 4096 bytes");
    if (target[0] != '/')
        return malformed(problem, "the target does not start with /");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)target[i] <= ' ' || (unsigned char)target[i] >= 0x7f)
            return malformed(problem, "the target has a byte that is not printable ASCII");
    if (strstr(target, "%00") != NULL)
        return malformed(problem, "the target has a %00");
    head->path = (uint16_t)(target - head->block);
    if ((question = strchr(target, '?')) != NULL) {
        *question = '\0';
        head->query = (uint16_t)(question + 1 - head->block);
    }
    return HEAD_MORE;
}

static enum head_verdict
judge_request_line(struct head *head, char *line, struct problem *problem)
{
    char *target, *version;
    enum head_verdict verdict;

    if (line[0] == '\0')
        return malformed(problem, "the request line is empty");
    if ((target = strchr(line, ' ')) == NULL || (version = strchr(target + 1, ' ')) == NULL)
        return malformed(
            problem, "the request line is not: method, space, target, space, HTTP version");
    *target++ = '\0';
    *version++ = '\0';
    for (const char *c = line; *c != '\0'; c++)
        if (!is_token_byte((unsigned char)*c))
            return malformed(problem, "the method is not a token");
    if (line[0] == '\0')
        return malformed(problem, "the method is empty");
    if ((verdict = judge_version(head, version, problem)) != HEAD_MORE ||
        (verdict = judge_target(head, target, problem)) != HEAD_MORE)
        return verdict;
    head->method = method_from_text(line);
    head->has_request_line = true;
    return HEAD_MORE;
}

static enum head_verdict
judge_content_length(struct head *head, const char *value, struct problem *problem)
{
    int64_t length = 0;

    if (head->content_length >= 0)
        return malformed(problem, "Content-Length is given twice");
    if (value[0] == '\0' || strspn(value, "0123456789") != strlen(value))
        return malformed(problem, "Content-Length is not a row of digits");
    for (const char *c = value; *c != '\0'; c++) {
        length = length * 10 + (*c - '0');
        if (length > head->body_max) /* far below overflow, so the next digit is safe too */
            return too_large(problem, head->body_max);
    }
    head->content_length = length;
    return HEAD_MORE;
}

/* Connection is a list; only two of its words concern us. */
static void
note_connection(struct head *head, const char *value)
{
    while (*value != '\0') {
        size_t len;

        value += strspn(value, ", \t");
        len = strcspn(value, ", \t");
        if (len == 5 && strncasecmp(value, "close", len) == 0)
            head->wants_close = true;
        else if (len == 10 && strncasecmp(value, "keep-alive", len) == 0 && head->minor == 0)
            head->wants_close = false;
        value += len;
    }
}

static enum head_verdict
judge_field(struct head *head, char *line, struct problem *problem)
{
    char *colon, *value, *end;

    if (line[0] == ' ' || line[0] == '\t')
        return malformed(problem, "a header line starts with white space (folding)");
    if (head->n_fields == HEAD_LINES_MAX)
        return refuse(problem, 431, "headers_too_large", "more than 100 header lines");
    if ((colon = strchr(line, ':')) == NULL)
        return malformed(problem, "a header line has no colon");
    if (colon == line)
        return malformed(problem, "a header line has no name");
    for (const char *c = line; c < colon; c++)
        if (!is_token_byte((unsigned char)*c))
            return malformed(problem, "the name of a header line is not a token");
    *colon = '\0';
    value = colon + 1 + strspn(colon + 1, " \t");
    end = value + strlen(value);
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    head->fields[head->n_fields].name = (uint16_t)(line - head->block);
    head->fields[head->n_fields].value = (uint16_t)(value - head->block);
    head->n_fields++;

    if (strcasecmp(line, "Content-Length") == 0)
        return judge_content_length(head, value, problem);
    if (strcasecmp(line, "Transfer-Encoding") == 0)
        return refuse(problem, 411, "length_required",
            "Transfer-Encoding is not accepted: send the body with a Content-Length");
    if (strcasecmp(line, "Host") == 0) {
        if (head->has_host)
            return malformed(problem, "Host is given twice");
        head->has_host = true;
    } else if (strcasecmp(line, "Expect") == 0) {
        if (strcasecmp(value, "100-continue") != 0)
            return refuse(problem, 417, "expectation_failed",
                "the only expectation that can be met is 100-continue");
        head->expects_continue = true;
    } else if (strcasecmp(line, "Connection") == 0) {
        note_connection(head, value);
    }
    return HEAD_MORE;
}

/* The empty line arrived: what only the whole block can tell. */
static enum head_verdict
judge_block(const struct head *head, struct problem *problem)
{
    if (!head->has_host && head->minor == 1)
        return malformed(problem, "Host is missing");
    if (head->content_length > 0 && head->method != HEAD_METHOD_POST &&
        head->method != HEAD_METHOD_PUT && head->method != HEAD_METHOD_PATCH)
        return malformed(problem, "only POST, PUT and PATCH may have a body");
    return HEAD_COMPLETE;
}

static enum head_verdict
judge_line(struct head *head, struct problem *problem)
{
    char *line = head->block + head->line_start;

    head->line_start = head->size;
    if (!head->has_request_line)
        return judge_request_line(head, line, problem);
    if (line[0] == '\0')
        return judge_block(head, problem);
    return judge_field(head, line, problem);
}

/* One more byte of the block. */
static enum head_verdict
take_byte(struct head *head, char c, struct problem *problem)
{
    unsigned char byte = (unsigned char)c;

    if (head->has_cr) {
        if (c != '\n')
            return malformed(problem, "a CR is not followed by LF");
        head->has_cr = false;
        if (append(head, '\0') == -1)
            return refuse(problem, 500, "internal", "out of memory");
        return judge_line(head, problem);
    }
    if (c == '\r') {
        head->has_cr = true;
        return HEAD_MORE;
    }
    if (c == '\n')
        return malformed(problem, "a line ends without CR");
    if ((byte < ' ' && c != '\t') || byte == 0x7f)
        return malformed(problem, "a control character in the header block");
    if (!head->has_request_line && head->size == HEAD_METHOD_MAX &&
        memchr(head->block, ' ', head->size) == NULL && c != ' ')
        return malformed(problem, "the method is longer than any method");
    if (!head->has_request_line &&
        head->size == HEAD_METHOD_MAX + HEAD_TARGET_MAX + sizeof("HTTP/1.1"))
        return refuse(problem, 414, "uri_too_long", "the target is longer than 4096 bytes");
    if (head->size == HEAD_BYTES_MAX)
        return refuse(problem, 431, "headers_too_large", "the header block is over 16 KiB");
    if (append(head, c) == -1)
        return refuse(problem, 500, "internal", "out of memory");
    return HEAD_MORE;
}

enum head_verdict
head_feed(struct head *head, const char *data, size_t len, size_t *used, struct problem *problem)
{
    enum head_verdict verdict = HEAD_MORE;
    size_t n = 0;

    while (n < len && verdict == HEAD_MORE)
        verdict = take_byte(head, data[n++], problem);
    *used = n;
    return verdict;
}

const char *
head_method_text(const struct head *head)
{
    return head->has_request_line ? head->block : "";
}

const char *
head_path(const struct head *head)
{
    return head->has_request_line ? head->block + head->path : "";
}

const char *
head_query(const struct head *head)
{
    return head->query != 0 ? head->block + head->query : NULL;
}

const char *
head_field(const struct head *head, const char *name, unsigned nth)
{
    for (size_t i = 0; i < head->n_fields; i++)
        if (strcasecmp(head->block + head->fields[i].name, name) == 0 && nth-- == 0)
            return head->block + head->fields[i].value;
    return NULL;
}

static bool
copy_request_id(const char *value, size_t len, char *id)
{
    id[0] = '\0';
    if (len == 0 || len > HEAD_REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                c == '.' || c == '_' || c == '-'))
            return false;
    }
    memcpy(id, value, len);
    id[len] = '\0';
    return true;
}

bool
head_request_id(const struct head *head, const char *rest, size_t rest_len, char *id)
{
    static const char name[] = "X-Request-ID:";
    const char *value = head != NULL ? head_field(head, "X-Request-ID", 0) : NULL;
    const char *end = rest + rest_len;

    if (value != NULL)
        return copy_request_id(value, strlen(value), id);
    for (const char *line = rest; line != NULL && line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;

        if ((size_t)(stop - line) > sizeof(name) - 1 &&
            strncasecmp(line, name, sizeof(name) - 1) == 0) {
            line += sizeof(name) - 1;
            while (line < stop && *line == ' ')
                line++;
            while (stop > line && (stop[-1] == '\r' || stop[-1] == ' '))
                stop--;
            return copy_request_id(line, (size_t)(stop - line), id);
        }
        line = newline != NULL ? newline + 1 : NULL;
    }
    id[0] = '\0';
    return false;
}
