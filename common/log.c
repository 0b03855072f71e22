/*
 * log.c - Builds a line on the stack and writes it with one write(2).
 *
 * No lock and no allocation: threads do not wait for each other's stderr. A line
 * is at most PIPE_BUF bytes, what a pipe takes whole; a field that no longer fits
 * is left out whole, so that every line is valid JSON.
 */
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/utf8.h"

#define LINE_MAX_BYTES PIPE_BUF
#define TEXT_MAX_BYTES 256 /* of a string, before escaping */
#define NAME_MAX_BYTES 64  /* of a field's name or a logger */

/* Room kept free for "}\n". */
#define TAIL_BYTES 2

struct line {
    char bytes[LINE_MAX_BYTES];
    size_t len;
    bool full; /* something did not fit; the caller takes back what it began */
};

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "DEBUG",
    [LOG_LEVEL_INFO] = "INFO",
    [LOG_LEVEL_WARNING] = "WARNING",
    [LOG_LEVEL_ERROR] = "ERROR",
    [LOG_LEVEL_CRITICAL] = "CRITICAL",
};

static _Atomic int lowest_level = LOG_LEVEL_INFO;

static void
put(struct line *line, const char *bytes, size_t n)
{
    if (line->full || n > sizeof(line->bytes) - TAIL_BYTES - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->bytes + line->len, bytes, n);
    line->len += n;
}

static void
put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Bytes of the UTF-8 character at the start of ${s} [n], or 0 if there is none. */
static size_t
character_size(const char *s, size_t n)
{
    /* The shortest valid text is one character: a longer one begins with an invalid byte. */
    for (size_t size = 1; size <= 4 && size <= n; size++) {
        if (utf8_is_valid(s, size))
            return size;
    }
    return 0;
}

/* How many bytes at the start of ${s} [n] go into a JSON string as they are: nearly always all. */
static size_t
plain_size(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && s[i] >= 0x20 && s[i] < 0x7F && s[i] != '"' && s[i] != '\\')
        i++;
    return i;
}

/* A JSON string of at most ${limit} bytes of ${text}, cut between characters. */
static void
put_string(struct line *line, const char *text, size_t limit)
{
    size_t n = strnlen(text, limit + 3); /* to see a character that begins inside it as a whole */
    char escaped[8];

    put_text(line, "\"");
    for (size_t i = 0; i < n && i < limit;) {
        unsigned char byte = (unsigned char)text[i];
        size_t size = plain_size(text + i, (n < limit ? n : limit) - i);

        if (size > 0) {
            put(line, text + i, size);
            i += size;
            continue;
        }
        size = character_size(text + i, n - i);
        if (size > 0 && i + size > limit)
            break;
        if (size == 0) {
            put_text(line, "\xEF\xBF\xBD"); /* U+FFFD */
            size = 1;
        } else if (byte == '"' || byte == '\\') {
            escaped[0] = '\\';
            escaped[1] = text[i];
            put(line, escaped, 2);
        } else if (byte < 0x20 || byte == 0x7F) {
            snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
            put(line, escaped, 6);
        } else {
            put(line, text + i, size);
        }
        i += size;
    }
    put_text(line, "\"");
}

/* By hand: there are several in every line, and printf() takes longer than all else. */
static void
put_integer(struct line *line, int64_t value)
{
    char digits[20]; /* a sign and the 19 digits of INT64_MIN */
    size_t at = sizeof(digits);
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        digits[--at] = '-';
    put(line, digits + at, sizeof(digits) - at);
}

static void
put_value(struct line *line, const struct log_field *field)
{
    char number[40];

    switch (field->kind) {
    case LOG_FIELD_TEXT:
        if (field->text == NULL)
            put_text(line, "null");
        else
            put_string(line, field->text, TEXT_MAX_BYTES);
        break;
    case LOG_FIELD_INTEGER:
        put_integer(line, field->integer);
        break;
    case LOG_FIELD_NUMBER:
        if (isfinite(field->number)) {
            snprintf(number, sizeof(number), "%.15g", field->number);
            put_text(line, number);
        } else {
            put_text(line, "null"); /* JSON has no word for it */
        }
        break;
    case LOG_FIELD_BOOL:
        put_text(line, field->flag ? "true" : "false");
        break;
    }
}

/* ,"name":value - the whole of it or nothing. */
static void
put_field(struct line *line, const struct log_field *field)
{
    size_t before = line->len;

    if (before > 1) /* after the opening brace */
        put_text(line, ",");
    put_string(line, field->name, NAME_MAX_BYTES);
    put_text(line, ":");
    put_value(line, field);
    if (line->full) {
        line->len = before;
        line->full = false; /* a shorter field may still fit */
    }
}

void
log_set_level(enum log_level level)
{
    atomic_store(&lowest_level, (int)level);
}

int
log_level_from_name(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcasecmp(name, level_names[i]) == 0) { /* "info" is what people write */
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

void
log_line(
    enum log_level level, const char *logger, const char *message, const struct log_field *fields)
{
    int saved_errno = errno;
    char timestamp[CLOCK_RFC3339_MAX];
    struct line line;
    const struct log_field head[] = {
        LOG_TEXT("timestamp", timestamp),
        LOG_TEXT("level", level_names[level]),
        LOG_TEXT("logger", logger),
        LOG_TEXT("message", message),
    };

    if ((int)level < atomic_load(&lowest_level))
        return;
    line.len = 0;
    line.full = false;
    clock_format_ms(clock_wall_ms(), timestamp);
    put_text(&line, "{");
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
        put_field(&line, &head[i]);
    for (; fields != NULL && fields->name != NULL; fields++)
        put_field(&line, fields);
    memcpy(line.bytes + line.len, "}\n", TAIL_BYTES);
    line.len += TAIL_BYTES;

    /* A log nobody can read any more must not stop the work: other failures are ignored. */
    while (write(STDERR_FILENO, line.bytes, line.len) == -1 && errno == EINTR)
        ;
    errno = saved_errno;
}
