/*
 * msgpack_write.c - Packing a stored value, with one look at what went wrong.
 *
 * After a failure nothing more is packed, so a half value never leaves this file.
 */
#include "common/msgpack_write.h"

#include <string.h>

#include "common/little_endian.h"

#define CHUNK 256 /* numbers turned into bytes at a time, on the stack */

void
msgpack_write_init(struct msgpack_write *w)
{
    msgpack_sbuffer_init(&w->buffer);
    msgpack_packer_init(&w->packer, &w->buffer, msgpack_sbuffer_write);
    w->failed = false;
}

static void
note(struct msgpack_write *w, int rc)
{
    if (rc != 0)
        w->failed = true;
}

void
msgpack_write_map(struct msgpack_write *w, size_t members)
{
    if (!w->failed)
        note(w, msgpack_pack_map(&w->packer, members));
}

void
msgpack_write_array(struct msgpack_write *w, size_t elements)
{
    if (!w->failed)
        note(w, msgpack_pack_array(&w->packer, elements));
}

void
msgpack_write_text(struct msgpack_write *w, const char *text)
{
    size_t len = strlen(text);

    if (!w->failed)
        note(w, msgpack_pack_str(&w->packer, len));
    if (!w->failed && len > 0)
        note(w, msgpack_pack_str_body(&w->packer, text, len));
}

void
msgpack_write_uint(struct msgpack_write *w, uint64_t value)
{
    if (!w->failed)
        note(w, msgpack_pack_uint64(&w->packer, value));
}

void
msgpack_write_float(struct msgpack_write *w, float value)
{
    if (!w->failed)
        note(w, msgpack_pack_float(&w->packer, value));
}

void
msgpack_write_double(struct msgpack_write *w, double value)
{
    if (!w->failed)
        note(w, msgpack_pack_double(&w->packer, value));
}

void
msgpack_write_bool(struct msgpack_write *w, bool value)
{
    if (!w->failed)
        note(w, value ? msgpack_pack_true(&w->packer) : msgpack_pack_false(&w->packer));
}

void
msgpack_write_nil(struct msgpack_write *w)
{
    if (!w->failed)
        note(w, msgpack_pack_nil(&w->packer));
}

void
msgpack_write_bin(struct msgpack_write *w, size_t size)
{
    if (!w->failed)
        note(w, msgpack_pack_bin(&w->packer, size));
}

void
msgpack_write_bytes(struct msgpack_write *w, const void *bytes, size_t size)
{
    if (!w->failed && size > 0)
        note(w, msgpack_pack_bin_body(&w->packer, bytes, size));
}

void
msgpack_write_floats(struct msgpack_write *w, const float *values, size_t n)
{
    uint8_t bytes[CHUNK * 4];

    msgpack_write_bin(w, n * 4);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;

        for (size_t i = 0; i < count; i++)
            le_put_float(bytes + 4 * i, values[at + i]);
        msgpack_write_bytes(w, bytes, count * 4);
    }
}

void
msgpack_write_doubles(struct msgpack_write *w, const double *values, size_t n)
{
    uint8_t bytes[CHUNK * 8];

    msgpack_write_bin(w, n * 8);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;

        for (size_t i = 0; i < count; i++)
            le_put_double(bytes + 8 * i, values[at + i]);
        msgpack_write_bytes(w, bytes, count * 8);
    }
}

int
msgpack_write_finish(struct msgpack_write *w, void **data, size_t *size, struct error *err)
{
    *data = NULL;
    *size = 0;
    if (w->failed) {
        msgpack_sbuffer_destroy(&w->buffer);
        return error_set(err, ERR_MEMORY, "out of memory for a stored value");
    }
    *size = w->buffer.size;
    *data = msgpack_sbuffer_release(&w->buffer);
    return 0;
}
