/*
 * accept.c - In which of the offered forms does a client want its reply?
 *
 * The highest quality wins, then the range that names a type most precisely, then our order.
 */
#include "api/accept.h"

#include <stddef.h>

#include "api/media.h"

static const struct {
    enum accept_form form;
    const char *type, *suffix;
} forms[] = {
    {ACCEPT_JSON, MEDIA_JSON, "json"},
    {ACCEPT_MSGPACK, MEDIA_MSGPACK, "msgpack"},
    {ACCEPT_CSV, MEDIA_CSV, "csv"},
    {ACCEPT_EVENTS, MEDIA_EVENTS, "events"},
};

/* All Accept lines together; none of them accepts anything. */
static int
quality_of(const struct head *head, const char *type, int *precision)
{
    const char *accept;
    int best = 1000;

    *precision = 0;
    for (unsigned i = 0; (accept = head_field(head, "Accept", i)) != NULL; i++) {
        int found, quality = media_quality(accept, type, &found);

        if (i == 0)
            best = 0;
        if (found > *precision) {
            *precision = found;
            best = quality;
        }
    }
    return best;
}

enum accept_form
accept_choose(const struct head *head, unsigned offers)
{
    int best_quality = 0, best_precision = 0;
    enum accept_form best = ACCEPT_NONE;

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        int precision, quality;

        if ((offers & forms[i].form) == 0)
            continue;
        quality = quality_of(head, forms[i].type, &precision);
        if (quality > best_quality ||
            (quality == best_quality && quality > 0 && precision > best_precision)) {
            best_quality = quality;
            best_precision = precision;
            best = forms[i].form;
        }
    }
    return best;
}

const char *
accept_type(enum accept_form form)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (forms[i].form == form)
            return forms[i].type;
    }
    return MEDIA_JSON;
}

const char *
accept_suffix(enum accept_form form)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (forms[i].form == form)
            return forms[i].suffix;
    }
    return "json";
}
