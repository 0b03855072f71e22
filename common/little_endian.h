/*
 * little_endian.h - Numbers in stored and hashed bytes, whatever the host's byte order.
 *
 * Written with shifts: a compiler for a little-endian host makes one move of them.
 * binary32 and binary64 travel as the integers that hold their bits.
 */
#ifndef COMMON_LITTLE_ENDIAN_H
#define COMMON_LITTLE_ENDIAN_H

#include <stdint.h>
#include <string.h>

static inline void
le_put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static inline void
le_put_u32(uint8_t *to, uint32_t value)
{
    le_put_u16(to, (uint16_t)value);
    le_put_u16(to + 2, (uint16_t)(value >> 16));
}

static inline void
le_put_u64(uint8_t *to, uint64_t value)
{
    le_put_u32(to, (uint32_t)value);
    le_put_u32(to + 4, (uint32_t)(value >> 32));
}

static inline uint16_t
le_get_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] | (uint16_t)(from[1] << 8));
}

static inline uint32_t
le_get_u32(const uint8_t *from)
{
    return le_get_u16(from) | (uint32_t)le_get_u16(from + 2) << 16;
}

static inline uint64_t
le_get_u64(const uint8_t *from)
{
    return le_get_u32(from) | (uint64_t)le_get_u32(from + 4) << 32;
}

static inline void
le_put_float(uint8_t *to, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    le_put_u32(to, bits);
}

static inline float
le_get_float(const uint8_t *from)
{
    uint32_t bits = le_get_u32(from);
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline void
le_put_double(uint8_t *to, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    le_put_u64(to, bits);
}

static inline double
le_get_double(const uint8_t *from)
{
    uint64_t bits = le_get_u64(from);
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

#endif /* COMMON_LITTLE_ENDIAN_H */
