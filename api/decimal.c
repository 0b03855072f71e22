/*
 * decimal.c - Numbers as clients write them, in integers; everything else by strtod().
 *
 * Up to 19 digits are an integer m of 64 bits and a power of ten. What follows rounds once, so
 * the result is the nearest double, the one strtod() finds:
 *  - m < 2^53 and the power up to 10^22: both are doubles, one operation (Clinger 1990);
 *  - the power up to 10^19: a product of 128 bits, or a quotient of 64 whose last bit stands
 *    for the remainder.
 * That is ten times as fast, and a request has thousands of numbers. No part of Kronosq calls
 * setlocale(), so strtod() also reads a point as a point.
 */
#include "api/decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX   19     /* 10^19 - 1 < 2^64 */
#define EXPONENT_CAP 100000 /* more is 0 or infinite whatever the digits are */

__extension__ typedef unsigned __int128 u128;

static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
    1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const uint64_t integer_powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
    100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
    100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000,
    10000000000000000000u};

#define POWER_MAX         ((int)(sizeof(powers) / sizeof(powers[0])) - 1)
#define INTEGER_POWER_MAX ((int)(sizeof(integer_powers) / sizeof(integer_powers[0])) - 1)

/* m / 10^k, for m > 0: both are shifted to 64 bits, so the quotient has 64, 11 more than kept. */
static double
divide(uint64_t m, int k)
{
    int m_shift = __builtin_clzll(m), d_shift = __builtin_clzll(integer_powers[k]);
    uint64_t n = m << m_shift, d = integer_powers[k] << d_shift;
    int shift = n >= d ? 63 : 64;
    u128 wide = (u128)n << shift;
    uint64_t quotient = (uint64_t)(wide / d);

    quotient |= wide % d != 0; /* above or below a tie, but not on it */
    return ldexp((double)quotient, d_shift - m_shift - shift);
}

/* ${m} times 10^exponent; false if that is not for here. */
static bool
scale(uint64_t m, int exponent, double *value)
{
    if (m == 0)
        *value = 0;
    else if (m < (uint64_t)1 << 53 && exponent >= -POWER_MAX && exponent <= POWER_MAX)
        *value = exponent < 0 ? (double)m / powers[-exponent] : (double)m * powers[exponent];
    else if (exponent >= 0 && exponent <= INTEGER_POWER_MAX)
        *value = (double)((u128)m * integer_powers[exponent]);
    else if (exponent < 0 && exponent >= -INTEGER_POWER_MAX)
        *value = divide(m, -exponent);
    else
        return false;
    return true;
}

static double
read_slowly(const char *text, size_t len)
{
    char copy[DECIMAL_MAX + 1];

    memcpy(copy, text, len);
    copy[len] = '\0';
    return strtod(copy, NULL);
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits at ${at}, added to ${m}; returns their end. */
static const char *
take_digits(const char *at, const char *end, uint64_t *m)
{
    for (; at < end && is_digit(*at); at++)
        *m = *m * 10 + (uint64_t)(*at - '0'); /* wraps for those that strtod() reads */
    return at;
}

/* "e-5" at ${at}; returns its end, or ${at} when it is no exponent. */
static const char *
take_exponent(const char *at, const char *end, int *exponent)
{
    const char *digit = at + 1;
    bool is_negative = digit < end && *digit == '-';
    int n = 0;

    if (digit < end && (*digit == '+' || *digit == '-'))
        digit++;
    if (digit == end || !is_digit(*digit))
        return at;
    for (; digit < end && is_digit(*digit); digit++)
        n = n < EXPONENT_CAP ? n * 10 + (*digit - '0') : n;
    *exponent = is_negative ? -n : n;
    return digit;
}

size_t
decimal_read(const char *text, size_t size, double *value)
{
    const char *at = text, *end = text + size, *first;
    int exponent = 0, n_digits, n_decimals = 0;
    bool is_negative;
    uint64_t m = 0;
    size_t len;
    double x;

    if (value != NULL)
        *value = 0;
    if ((is_negative = at < end && *at == '-'))
        at++;
    first = at;
    if (at == end || !is_digit(*at))
        return 0;
    if (*at == '0')
        at++;
    else
        at = take_digits(at, end, &m);
    n_digits = at - first > DIGITS_MAX ? DIGITS_MAX + 1 : (int)(at - first);
    if (at + 1 < end && *at == '.' && is_digit(at[1])) {
        first = at + 1;
        at = take_digits(first, end, &m);
        n_decimals = at - first > DIGITS_MAX ? DIGITS_MAX + 1 : (int)(at - first);
    }
    if (at < end && (*at == 'e' || *at == 'E'))
        at = take_exponent(at, end, &exponent);
    len = (size_t)(at - text);
    if (value == NULL || len > DECIMAL_MAX)
        return len;
    /* zeros in front count as digits: rare enough for strtod() */
    if (n_digits + n_decimals > DIGITS_MAX || !scale(m, exponent - n_decimals, &x))
        *value = read_slowly(text, len);
    else
        *value = is_negative ? -x : x;
    return len;
}
