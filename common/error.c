/*
 * error.c - Fills a caller's struct error; allocates nothing, logs nothing.
 *
 * The text is put together in a local buffer first, so that an error may quote
 * the one it replaces: error_set(err, err->code, "task: %s", err->text).
 */
#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * Of a text that was cut after ${len} bytes: the length without a broken last character.
 * (utf8_cut() would want the bytes behind the cut; and error.o links alone with the model.)
 */
static size_t
whole_characters(const char *text, size_t len)
{
    size_t start = len;

    while (start > 0 && len - start < 4) {
        unsigned char byte = (unsigned char)text[--start];

        if (byte < 0x80)
            return len;
        if (byte >= 0xC0) { /* the first byte of a character says how many belong to it */
            size_t size = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;

            return len - start < size ? start : len;
        }
    }
    return len; /* not UTF-8 at all: nothing to keep whole */
}

/* Format into ${text} [size]; returns the length, cut at a character's end. */
__attribute__((format(printf, 3, 0))) static size_t
format_text(char *text, size_t size, const char *format, va_list args)
{
    int n = vsnprintf(text, size, format, args);

    if (n < 0) { /* a conversion failed: the format itself still says something */
        n = snprintf(text, size, "%s", format);
    }
    if ((size_t)n < size)
        return (size_t)n;
    text[whole_characters(text, size - 1)] = '\0';
    return strlen(text);
}

int
error_set(struct error *err, enum error_code code, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;

    if (err == NULL)
        return -1;
    va_start(args, format);
    format_text(text, sizeof(text), format, args);
    va_end(args);
    err->code = code;
    memcpy(err->text, text, sizeof(text));
    return -1;
}

int
error_errno(struct error *err, const char *format, ...)
{
    char text[ERROR_TEXT_MAX], buf[128];
    const char *reason;
    int number = errno;
    va_list args;
    size_t room, len;

    if (err == NULL)
        return -1;
    reason = strerror_r(number, buf, sizeof(buf)); /* GNU's: returns the text */
    if (strlen(reason) > sizeof(buf) - 1)
        reason = "unknown error";
    /* The reason is the part that must survive a long path. */
    room = sizeof(text) - strlen(reason) - 2;
    va_start(args, format);
    len = format_text(text, room, format, args);
    va_end(args);
    snprintf(text + len, sizeof(text) - len, ": %s", reason);
    err->code = number == ENOMEM ? ERR_MEMORY : ERR_SYSTEM;
    memcpy(err->text, text, sizeof(text));
    errno = number;
    return -1;
}

const char *
error_name(enum error_code code)
{
    switch (code) {
    case ERR_NONE:
        return "none";
    case ERR_INVALID:
        return "invalid";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_CORRUPT:
        return "corrupt";
    case ERR_MEMORY:
        return "memory";
    case ERR_SYSTEM:
        return "system";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_CANCELLED:
        return "cancelled";
    case ERR_NOT_FINITE:
        return "not_finite";
    }
    return "unknown";
}
