/*
 * request_candles.c - The candles of a series, by rows or by columns, to binary32.
 *
 * Both layouts end in the same judgement of one candle. Figures stay double until the task is
 * filled, because the amount a volume implies is computed before rounding.
 */
#include "api/request_internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/document/json_out.h"
#include "api/python_repr.h"

#define PRICE_MAX 1e15 /* of every figure: beyond, binary32 has no digits to forecast with */

enum field { OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT };
#define N_PRICES 4

static const char *const field_names[TASK_FIELDS] = {
    "open", "high", "low", "close", "volume", "amount"};

static const struct value_range price_range = {
    .least = 0,
    .most = PRICE_MAX,
    .is_above = true,
    .is_binary32 = true,
    .must_finite = true,
};
static const struct value_range volume_range = {
    .least = 0,
    .most = PRICE_MAX,
    .must_finite = true,
};

/* Where field ${field} of candle ${index} stands: candles/3/high or candles/high/3. */
struct place {
    struct path outer, inner;
};

static const struct path *
place_at(struct place *place, const struct path *candles_at, bool is_columnar, size_t index,
    enum field field)
{
    struct path by_index = {.index = index}, by_name = {.name = field_names[field]};

    place->outer = is_columnar ? by_name : by_index;
    place->inner = is_columnar ? by_index : by_name;
    place->outer.parent = candles_at;
    place->inner.parent = &place->outer;
    return &place->inner;
}

/* The first of the three rules that fails, in the order and with the figures of the old service. */
static void
judge_order(struct reader *r, const struct path *candles_at, bool is_columnar, size_t index,
    const double *x)
{
    char message[256], detail[128], low[PYTHON_REPR_MAX], high[PYTHON_REPR_MAX];
    char open[PYTHON_REPR_MAX], close[PYTHON_REPR_MAX], mine[32], other[32];
    const struct path *at;
    struct place place;
    bool is_low = true, is_cross = false;
    double limit;

    if (x[LOW] <= x[OPEN] && x[LOW] <= x[CLOSE] && x[HIGH] >= x[OPEN] && x[HIGH] >= x[CLOSE])
        return; /* then low <= high as well */
    python_repr(x[OPEN], open);
    python_repr(x[HIGH], high);
    python_repr(x[LOW], low);
    python_repr(x[CLOSE], close);
    if (x[LOW] > x[OPEN] || x[LOW] > x[CLOSE]) {
        snprintf(message, sizeof(message),
            "Low (%s) cannot be greater than open (%s) or close (%s)", low, open, close);
        is_cross = x[LOW] > x[CLOSE] && (x[CLOSE] <= x[OPEN] || x[LOW] <= x[OPEN]);
        limit = is_cross ? x[CLOSE] : x[OPEN];
    } else {
        snprintf(message, sizeof(message), "High (%s) cannot be less than open (%s) or close (%s)",
            high, open, close);
        is_low = false;
        is_cross = x[HIGH] < x[CLOSE] && (x[CLOSE] >= x[OPEN] || x[HIGH] >= x[OPEN]);
        limit = is_cross ? x[CLOSE] : x[OPEN];
    }
    json_format_double(is_low ? x[LOW] : x[HIGH], mine);
    json_format_double(limit, other);
    snprintf(detail, sizeof(detail), "%s %s is %s %s %s", is_low ? "low" : "high", mine,
        is_low ? "above" : "below", is_cross ? "close" : "open", other);
    at = place_at(&place, candles_at, is_columnar, index, is_low ? LOW : HIGH);
    /* a row is one place, in columns only the figure is */
    fault_old_text(r, is_columnar ? at : &place.outer, "ohlc_order", message, detail);
}

/* ${items}: the six members of candle ${index}, NULL where absent; null in a column is absent. */
static void
read_candle(struct reader *r, const struct path *candles_at, bool is_columnar, size_t index,
    const cJSON *const *items, struct candles *candles)
{
    double *x = candles->fields + index * TASK_FIELDS;
    bool has_prices = true;

    for (int f = 0; f < TASK_FIELDS; f++) {
        bool is_price = f < N_PRICES;
        bool is_absent = is_price && !is_columnar ? items[f] == NULL : !value_is_given(items[f]);
        const struct value_range *range = is_price ? &price_range : &volume_range;
        struct place place;

        x[f] = 0;
        if (is_absent) {
            if (is_price) {
                fault_required(r, place_at(&place, candles_at, is_columnar, index, (enum field)f));
                has_prices = false;
            }
        } else if (!value_peek_number(items[f], range, &x[f]) &&
                   !value_number(r, items[f],
                       place_at(&place, candles_at, is_columnar, index, (enum field)f), range,
                       &x[f])) {
            has_prices = has_prices && !is_price;
        } else if (f == VOLUME) {
            candles->has_volume = true;
        } else if (f == AMOUNT) {
            candles->has_amount = true;
        }
    }
    if (has_prices)
        judge_order(r, candles_at, is_columnar, index, x);
}

static bool
allocate(struct reader *r, size_t n, struct candles *candles)
{
    if ((candles->fields = malloc(n * TASK_FIELDS * sizeof(*candles->fields))) == NULL) {
        r->out_of_memory = true;
        return false;
    }
    candles->n = n;
    return true;
}

/* The members of a row that was read, to find those of the next one by. */
struct row_shape {
    const char *names[TASK_FIELDS]; /* in the order of the row: its own texts */
    enum field fields[TASK_FIELDS];
    size_t n; /* 0: there is none to go by */
};

static void
note_shape(struct row_shape *shape, const cJSON *row, const cJSON *const *items)
{
    const cJSON *member;

    shape->n = 0;
    cJSON_ArrayForEach(member, row)
    {
        int f = 0;

        while (f < TASK_FIELDS && items[f] != member)
            f++;
        if (f == TASK_FIELDS) { /* a name of no field, which is reported where it occurs */
            shape->n = 0;
            return;
        }
        shape->names[shape->n] = member->string;
        shape->fields[shape->n++] = (enum field)f;
    }
}

/* Has ${row} the names of the row before it? Then it shares their texts (tree.h). */
static bool
has_shape(const struct row_shape *shape, const cJSON *row, const cJSON **items)
{
    const cJSON *member;
    size_t i = 0;

    for (int f = 0; f < TASK_FIELDS; f++)
        items[f] = NULL;
    cJSON_ArrayForEach(member, row)
    {
        if (i == shape->n || member->string != shape->names[i])
            return false;
        items[shape->fields[i++]] = member;
    }
    return i == shape->n;
}

static void
read_rows(struct reader *r, const cJSON *list, const struct path *at, struct candles *candles)
{
    const cJSON *row, *items[TASK_FIELDS];
    struct row_shape shape = {.n = 0};
    size_t n, index = 0;

    if (!value_list(r, list, at, 1, TASK_HISTORY_MAX, &n) || !allocate(r, n, candles))
        return;
    cJSON_ArrayForEach(row, list)
    {
        struct path row_at = {.parent = at, .index = index};

        if (cJSON_IsObject(row)) {
            if (shape.n == 0 || !has_shape(&shape, row, items)) {
                value_members(r, row, &row_at, field_names, TASK_FIELDS, false, items);
                note_shape(&shape, row, items);
            }
            read_candle(r, at, false, index, items, candles);
        } else {
            fault_type(r, &row_at, WANTED_OBJECT, row);
        }
        index++;
    }
}

static void
read_columns(struct reader *r, const cJSON *object, const struct path *at, struct candles *candles)
{
    const cJSON *columns[TASK_FIELDS], *items[TASK_FIELDS];
    size_t lengths[TASK_FIELDS] = {0}, n = 0;
    bool is_sound = true;

    value_members(r, object, at, field_names, TASK_FIELDS, false, columns);
    for (int f = 0; f < TASK_FIELDS; f++) {
        struct path column_at = {.parent = at, .name = field_names[f]};

        if (f < N_PRICES ? columns[f] == NULL : !value_is_given(columns[f])) {
            columns[f] = NULL;
            if (f < N_PRICES) {
                fault_required(r, &column_at);
                is_sound = false;
            }
            continue;
        }
        if (!value_list(r, columns[f], &column_at, 1, TASK_HISTORY_MAX, &lengths[f])) {
            is_sound = false;
        } else if (n == 0) {
            n = lengths[f]; /* the first column sets the length */
        } else if (lengths[f] != n) {
            fault_list_length(r, &column_at, n, n, lengths[f]);
            is_sound = false;
        }
    }
    if (!is_sound || !allocate(r, n, candles))
        return;
    for (int f = 0; f < TASK_FIELDS; f++)
        items[f] = columns[f] != NULL ? columns[f]->child : NULL;
    for (size_t index = 0; index < n; index++) {
        read_candle(r, at, true, index, items, candles);
        for (int f = 0; f < TASK_FIELDS; f++)
            items[f] = items[f] != NULL ? items[f]->next : NULL;
    }
}

void
candles_read(struct reader *r, const cJSON *item, const struct path *at, struct candles *candles)
{
    if (cJSON_IsObject(item))
        read_columns(r, item, at, candles);
    else
        read_rows(r, item, at, candles);
    if (candles->has_amount && !candles->has_volume) {
        char pointer[PATH_TEXT_MAX];

        path_format(at, pointer);
        task_about_warn(
            r->about, "option_ignored", pointer, "amount is not used where no volume is given");
    }
}

void
candles_fill(const struct candles *candles, float *out)
{
    for (size_t i = 0; i < candles->n; i++) {
        const double *x = candles->fields + i * TASK_FIELDS;
        double amount = x[AMOUNT];

        if (!candles->has_volume)
            amount = 0;
        else if (!candles->has_amount)
            amount = x[VOLUME] * ((x[OPEN] + x[HIGH] + x[LOW] + x[CLOSE]) / N_PRICES);
        for (int f = 0; f < AMOUNT; f++)
            out[i * TASK_FIELDS + (size_t)f] = (float)x[f];
        out[i * TASK_FIELDS + AMOUNT] = (float)amount;
    }
}
