/*
 * event_text.h - One event of an event stream as text.
 */
#ifndef API_EVENT_TEXT_H
#define API_EVENT_TEXT_H

#include <event2/buffer.h>

#include "common/document/json_out.h"

/**
 * event_text_add(out, name, id, data): an event with one line of data, after what ${out} holds; ${id}
 * may be NULL. Clears ${data}. 0, or -1 without memory, and then ${out} is not fit to be sent.
 */
int event_text_add(struct evbuffer *out, const char *name, const char *id, struct json_out *data);

#endif /* API_EVENT_TEXT_H */
