/*
 * id.c - Random UUIDs. Nobody's access rests on one being unguessable.
 */
#include "common/id.h"

#include <stddef.h>
#include <sys/random.h>
#include <uuid/uuid.h>

void
id_new(char *id)
{
    uuid_t bytes;

    /* libuuid also asks for user, process and thread: five calls of the kernel for each id */
    if (getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes)) {
        bytes[6] = (unsigned char)(0x40 | (bytes[6] & 0x0F)); /* version 4, */
        bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3F)); /* the variant of RFC 9562 */
    } else {
        uuid_generate_random(bytes);
    }
    uuid_unparse_lower(bytes, id);
}

bool
id_is_valid(const char *text)
{
    if (text == NULL)
        return false;
    for (size_t i = 0; i < ID_LEN; i++) {
        char c = text[i]; /* the loop ends at a terminator: it is neither hyphen nor digit */

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-')
                return false;
        } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return text[ID_LEN] == '\0';
}

/* FNV-1a; ids are random, so anything would do. */
uint32_t
id_hash(const char *id)
{
    uint32_t hash = 2166136261u;

    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 16777619u;
    return hash;
}
