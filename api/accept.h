/*
 * accept.h - In which of the offered forms does a client want its reply?
 */
#ifndef API_ACCEPT_H
#define API_ACCEPT_H

#include "api/head.h"

enum accept_form {
    ACCEPT_NONE = 0,
    ACCEPT_JSON = 1,
    ACCEPT_MSGPACK = 2,
    ACCEPT_CSV = 4,
    ACCEPT_EVENTS = 8
};

/** accept_choose(head, offers): the best of the bits in ${offers}; ACCEPT_NONE: the client takes none of them. */
enum accept_form accept_choose(const struct head *head, unsigned offers);

/** accept_type(form): "application/json"; accept_suffix(form): "json", for an ETag. */
const char *accept_type(enum accept_form form);
const char *accept_suffix(enum accept_form form);

#endif /* API_ACCEPT_H */
