/*
 * utf8.c - Is this text UTF-8, and where may it be cut?
 *
 * The table of RFC 3629 section 4 as it stands there: the first byte decides how many
 * follow and, for four of them, a narrower range of the second.
 */
#include "common/utf8.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the character that starts at ${s}, of ${len} left; 0 when there is none. */
static size_t
character_bytes(const uint8_t *s, size_t len)
{
    uint8_t low = 0x80, high = 0xBF; /* of the second byte */
    size_t n;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        n = 2;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF)
        n = 3;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4)
        n = 4;
    else
        return 0; /* a continuation byte, or C0, C1, F5..FF, which start nothing */
    if (n > len)
        return 0;

    if (s[0] == 0xE0)
        low = 0xA0; /* else overlong */
    else if (s[0] == 0xED)
        high = 0x9F; /* else a surrogate */
    else if (s[0] == 0xF0)
        low = 0x90; /* else overlong */
    else if (s[0] == 0xF4)
        high = 0x8F; /* else above U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    return n;
}

/* How many of ${len} bytes, in whole words, are ASCII from the start on: nearly always all. */
static size_t
ascii_words(const uint8_t *s, size_t len)
{
    size_t i = 0;
    uint64_t word;

    for (; len - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, s + i, sizeof(word));
        if ((word & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    return i;
}

bool
utf8_is_valid(const char *text, size_t len)
{
    const uint8_t *s = (const uint8_t *)text;

    for (size_t i = ascii_words(s, len), n; i < len; i += n)
        if ((n = character_bytes(s + i, len - i)) == 0)
            return false;
    return true;
}

size_t
utf8_cut(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    while (max > 0 && ((uint8_t)text[max] & 0xC0) == 0x80)
        max--;
    return max;
}
