/*
 * utf8.h - Is this text UTF-8, and where may it be cut?
 */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/** utf8_is_valid(text, len): RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_is_valid(const char *text, size_t len);

/** utf8_cut(text, len, max): the most bytes <= ${max} of valid ${text} that split no character. */
size_t utf8_cut(const char *text, size_t len, size_t max);

#endif /* COMMON_UTF8_H */
