/*
 * event_text.c - One event of an event stream as text (WHATWG HTML, server-sent events).
 *
 * JSON as json_out.c writes it has no line ends, so the data of an event is one line.
 */
#include "api/event_text.h"

int
event_text_add(struct evbuffer *out, const char *name, const char *id, struct json_out *data)
{
    int status = -1;

    if (!data->failed && evbuffer_add_printf(out, "event: %s\n", name) != -1 &&
        (id == NULL || evbuffer_add_printf(out, "id: %s\n", id) != -1) &&
        evbuffer_add(out, "data: ", 6) == 0 && evbuffer_add(out, data->text, data->len) == 0 &&
        evbuffer_add(out, "\n\n", 2) == 0)
        status = 0;
    json_out_clear(data);
    return status;
}
