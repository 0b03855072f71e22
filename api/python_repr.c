/*
 * python_repr.c - repr(float): the shortest digits, and always a point or an exponent.
 *
 * Python writes an exponent below 1e-4 and from 1e16 on, where C's %g depends on the number
 * of digits.
 */
#include "api/python_repr.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 17 /* always read back to the same double */

size_t
python_repr(double value, char *text)
{
    char digits[PYTHON_REPR_MAX];
    int n = 1, exponent, decimals, len;

    if (!isfinite(value)) {
        len = snprintf(text, PYTHON_REPR_MAX, "%s",
            isnan(value) ? "nan"
            : value < 0  ? "-inf"
                         : "inf");
        return (size_t)len;
    }
    for (;; n++) {
        snprintf(digits, sizeof(digits), "%.*e", n - 1, value);
        if (n == DIGITS_MAX || strtod(digits, NULL) == value)
            break;
    }
    exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) /* %e writes the exponent as Python does */
        return (size_t)snprintf(text, PYTHON_REPR_MAX, "%s", digits);
    decimals = n - 1 - exponent;
    return (size_t)snprintf(text, PYTHON_REPR_MAX, "%.*f", decimals > 1 ? decimals : 1, value);
}
