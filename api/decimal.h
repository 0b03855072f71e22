/*
 * decimal.h - The text of a JSON number -> the double nearest to it.
 */
#ifndef API_DECIMAL_H
#define API_DECIMAL_H

#include <stddef.h>

#define DECIMAL_MAX 63 /* bytes of a number that is read; no sender needs as many */

/**
 * decimal_read(text, size, value):
 * The length of the JSON number that ${text} starts with, 0 if there is none. ${value}: the
 * nearest double, ties to even, infinite beyond the largest; NULL: not wanted. A number longer
 * than DECIMAL_MAX is measured, but ${value} is 0.
 */
size_t decimal_read(const char *text, size_t size, double *value);

#endif /* API_DECIMAL_H */
