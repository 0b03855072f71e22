/*
 * prefer.c - The Prefer header (RFC 7240): how long a client is willing to wait.
 *
 * preference = token [ "=" word ] *( ";" parameter ), in a comma separated list; a word is a
 * token or a quoted string. Parameters mean nothing here and are skipped.
 */
#include "api/prefer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static size_t
skip_space(const char *text)
{
    return strspn(text, " \t");
}

/* Length of one list element: commas in quoted strings do not end it. */
static size_t
element_len(const char *text)
{
    bool is_quoted = false;
    size_t n = 0;

    for (; text[n] != '\0'; n++) {
        if (is_quoted && text[n] == '\\' && text[n + 1] != '\0')
            n++;
        else if (text[n] == '"')
            is_quoted = !is_quoted;
        else if (text[n] == ',' && !is_quoted)
            break;
    }
    return n;
}

/* The seconds of wait=${word}: whole, 0 and up; -1 if it is none. */
static int
wait_seconds(const char *word, size_t len)
{
    int seconds = 0;

    if (len >= 2 && word[0] == '"' && word[len - 1] == '"') {
        word++;
        len -= 2;
    }
    if (len == 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (word[i] < '0' || word[i] > '9')
            return -1;
        if (seconds <= PREFER_WAIT_MAX_SECONDS) /* beyond it the digits change nothing */
            seconds = seconds * 10 + (word[i] - '0');
    }
    return seconds < PREFER_WAIT_MAX_SECONDS ? seconds : PREFER_WAIT_MAX_SECONDS;
}

static void
read_element(const char *text, size_t len, struct prefer *prefer)
{
    size_t name_len, word_len, i;
    int seconds;

    for (i = 0; i < len && text[i] != ';'; i++)
        ;
    len = i; /* without parameters */
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    for (name_len = 0; name_len < len && strchr("= \t", text[name_len]) == NULL; name_len++)
        ;
    for (i = name_len; i < len && (text[i] == ' ' || text[i] == '\t'); i++)
        ;
    if (i == len) {
        if (name_len == strlen("respond-async") &&
            strncasecmp(text, "respond-async", name_len) == 0)
            prefer->respond_async = true;
        return;
    }
    if (text[i++] != '=')
        return;
    i += skip_space(text + i);
    word_len = i < len ? len - i : 0;
    if (name_len == strlen("wait") && strncasecmp(text, "wait", name_len) == 0 &&
        !prefer->has_wait && (seconds = wait_seconds(text + i, word_len)) >= 0) {
        prefer->has_wait = true;
        prefer->wait_seconds = seconds;
    }
}

void
prefer_read(const char *value, struct prefer *prefer)
{
    while (*value != '\0') {
        size_t len;

        value += skip_space(value);
        len = element_len(value);
        read_element(value, len, prefer);
        value += len;
        if (*value == ',')
            value++;
    }
}

bool
prefer_applied(const struct prefer *prefer, char *text)
{
    if (prefer->has_wait)
        snprintf(text, PREFER_APPLIED_MAX, "wait=%d", prefer->wait_seconds);
    else if (prefer->respond_async)
        snprintf(text, PREFER_APPLIED_MAX, "respond-async");
    else
        return false;
    return true;
}
