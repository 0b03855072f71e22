/*
 * request_internal.h - What the files that judge a request share. For request_*.c only.
 *
 * A reader walks the tree in the order of the schema. A fault is added to the problem where
 * it is found and reading goes on, so that one refusal names everything that is wrong.
 * Functions that read a value return whether it may be used.
 */
#ifndef API_REQUEST_INTERNAL_H
#define API_REQUEST_INTERNAL_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/problem.h"
#include "api/request.h"
#include "api/times.h"
#include "common/task.h"

struct reader {
    const struct request_rules *rules;
    struct problem *problem;
    struct task_about *about; /* of the series being read: takes the warnings */
    size_t n_unknown;         /* unknown members met; the first few become warnings */
    bool out_of_memory;
};

/* A place in the body: links on the stack, written out only when something is wrong there. */
struct path {
    const struct path *parent; /* NULL: the body itself is the parent */
    const char *name;          /* of a member; NULL: an element */
    size_t index;              /* of an element */
};

#define PATH_TEXT_MAX 640

/** path_format(at, text): "#/candles/3/high" into ${text} [PATH_TEXT_MAX]; "#" for NULL. */
void path_format(const struct path *at, char *text);

/* ---- request_fault.c: one function per kind of fault, with the texts of both shapes ---- */

enum wanted {
    WANTED_NUMBER,
    WANTED_INTEGER,
    WANTED_TEXT,
    WANTED_LIST,
    WANTED_BOOL,
    WANTED_TIME,
    WANTED_OBJECT
};
enum limit { LIMIT_ABOVE, LIMIT_AT_LEAST, LIMIT_AT_MOST };

void fault_required(struct reader *r, const struct path *at);
void fault_type(struct reader *r, const struct path *at, enum wanted wanted, const cJSON *input);
/** fault_parsing(...): a string where a number is wanted, that holds none. */
void fault_parsing(struct reader *r, const struct path *at, enum wanted wanted, const cJSON *input);
void fault_fraction(struct reader *r, const struct path *at, const cJSON *input);
void fault_not_finite(struct reader *r, const struct path *at, const cJSON *input);
void fault_limit(struct reader *r, const struct path *at, enum limit kind, double limit,
    double value, const cJSON *input);
void fault_list_length(
    struct reader *r, const struct path *at, size_t least, size_t most, size_t actual);
void fault_text_length(struct reader *r, const struct path *at, size_t least, size_t most,
    size_t actual, const cJSON *input);
void fault_choice(struct reader *r, const struct path *at, const char *const *names, size_t n,
    const cJSON *input);
void fault_pattern(
    struct reader *r, const struct path *at, const char *pattern, const cJSON *input);
void fault_time(struct reader *r, const struct path *at, const char *reason, const cJSON *input);
void fault_bool_as_time(struct reader *r, const struct path *at, const cJSON *input);
void fault_extra(struct reader *r, const struct path *at);
/** fault_value(r, at, code, input, format, ...): any other; "Value error, " and the same sentence. */
void fault_value(struct reader *r, const struct path *at, const char *code, const cJSON *input,
    const char *format, ...) __attribute__((format(printf, 5, 6)));
/** fault_old_text(r, at, code, message, detail): the sentence of the FastAPI service, and ours. */
void fault_old_text(struct reader *r, const struct path *at, const char *code, const char *message,
    const char *detail);

/* ---- request_value.c: one value of the tree ---- */

/** value_is_given(item): an optional member that is null counts as absent. */
static inline bool
value_is_given(const cJSON *item)
{
    return item != NULL && (item->type & 0xFF) != cJSON_NULL; /* no call into cJSON */
}

/** value_members(r, object, at, names, n, is_closed, found):
 * The members of ${object} by name into ${found} [n], NULL where absent. Unknown ones become
 * warnings, or faults where the object ${is_closed}. */
void value_members(struct reader *r, const cJSON *object, const struct path *at,
    const char *const *names, size_t n, bool is_closed, const cJSON **found);

struct value_range {
    double least, most;
    bool is_above;    /* ${least} itself is out */
    bool is_binary32; /* judged as the binary32 it becomes */
    bool must_finite; /* an infinity is not_finite, not a range */
};

bool value_number(struct reader *r, const cJSON *item, const struct path *at,
    const struct value_range *range, double *value);

/** value_is_above_least(x, range): not below what is allowed; false for NaN. */
static inline bool
value_is_above_least(double x, const struct value_range *range)
{
    double judged = range->is_binary32 ? (double)(float)x : x;

    return range->is_above ? judged > range->least : judged >= range->least;
}

/** value_peek_number(item, range, value): is it a number in range? Reports nothing; does not read
 * numbers in strings. Here, because it is asked of each of thousands. */
static inline bool
value_peek_number(const cJSON *item, const struct value_range *range, double *value)
{
    double x = item->valuedouble;

    if (item->type != cJSON_Number || !(x <= range->most) || !value_is_above_least(x, range))
        return false;
    *value = x;
    return true;
}

bool value_integer(struct reader *r, const cJSON *item, const struct path *at, int64_t least,
    int64_t most, int64_t *value);
/** value_peek_integer(item, value): is it an integer? Reports nothing. */
bool value_peek_integer(const cJSON *item, int64_t *value);
bool value_bool(struct reader *r, const cJSON *item, const struct path *at, bool *value);
bool value_text(struct reader *r, const cJSON *item, const struct path *at, size_t least,
    size_t most, const char **value);
bool value_choice(struct reader *r, const cJSON *item, const struct path *at,
    const char *const *names, size_t n, size_t *choice);
/** value_list(r, item, at, least, most, n): is it a list of that many elements? */
bool value_list(struct reader *r, const cJSON *item, const struct path *at, size_t least,
    size_t most, size_t *n);

/* ---- one series: candles, two lists of times, overrides ---- */

struct candles {
    size_t n;        /* elements in the body, also when some are faulty; 0: not even that */
    double *fields;  /* [n, TASK_FIELDS], absent values 0; owned */
    bool has_volume; /* in one candle at least */
    bool has_amount;
};

struct times {
    size_t n;
    struct task_time *list; /* [n]; owned; NULL when something was wrong */
    bool is_generator;      /* then interval and weekdays_only hold; count 0: it was faulty */
    struct times_interval interval;
    bool weekdays_only;
};

struct overrides {
    bool has_pred_len, has_seed, has_top_p;
    uint32_t pred_len;
    struct task_params params;
};

struct series {
    const char *series_id; /* the tree's; NULL: null */
    bool is_batch_item;    /* the old texts of relations differ there */
    const cJSON *pred_len; /* of the batch's overrides, where an item's have none */
    struct candles candles;
    struct times history, horizon;
    struct overrides overrides;
};

enum series_member {
    SERIES_ID,
    SERIES_CANDLES,
    SERIES_TIMESTAMPS,
    SERIES_PREDICTION,
    SERIES_OVERRIDES,
    SERIES_MEMBERS
};

/** series_read(r, found, at, series): the schema of one series; faults go to the problem. */
void series_read(
    struct reader *r, const cJSON *const *found, const struct path *at, struct series *series);
/** series_judge(r, series, at, context): the first relation that fails, if any; after a sound series_read(). */
void series_judge(
    struct reader *r, const struct series *series, const struct path *at, uint32_t context);
/** series_task(r, series, output, out): the task and the part of about a series decides; -1 without memory. */
int series_task(struct reader *r, struct series *series, const struct task_output *output,
    struct request_series *out);
void series_clear(struct series *series);

void candles_read(
    struct reader *r, const cJSON *item, const struct path *at, struct candles *candles);
/** candles_fill(candles, out): [n, TASK_FIELDS] binary32, with the amount the volume implies. */
void candles_fill(const struct candles *candles, float *out);

void times_read_history(struct reader *r, const cJSON *item, const struct path *at,
    size_t n_candles, struct times *times);
void times_read_horizon(struct reader *r, const cJSON *item, const struct path *at,
    const struct times *history, const cJSON *pred_len, struct times *times);

/** overrides_read(r, item, at, overrides): what is given replaces what ${overrides} holds. */
void overrides_read(
    struct reader *r, const cJSON *item, const struct path *at, struct overrides *overrides);
/** overrides_member(item, name): a member of an overrides object that may be anything, or NULL. */
const cJSON *overrides_member(const cJSON *item, const char *name);

/* ---- the rest of the request: from `model` on, for all its series ---- */

#define REST_MEMBERS 7

extern const char *const *const request_series_names; /* [SERIES_MEMBERS] */
extern const char *const *const request_rest_names;   /* [REST_MEMBERS] */

/** request_read_rest(r, rest, request, output): ${rest} [REST_MEMBERS] of the tree; metadata goes to r->about. */
void request_read_rest(struct reader *r, const cJSON *const *rest, struct request *request,
    struct task_output *output);

/** request_judge_rest(...): totals, model, webhook: the first that fails answers. ${path_values}: the sum of S times P. */
void request_judge_rest(struct reader *r, const struct request *request,
    const struct task_output *output, uint64_t path_values, bool is_model_known);

/** request_overrides(rules): what holds where a request overrides nothing. */
struct overrides request_overrides(const struct request_rules *rules);

/** request_is_refused(r): faults were found, or memory was missing. */
bool request_is_refused(const struct reader *r);

/** batch_read(r, tree, out): a batch, from its schema to its tasks. */
void batch_read(struct reader *r, const cJSON *tree, struct request *out);

void output_read(
    struct reader *r, const cJSON *item, const struct path *at, struct task_output *output);
void metadata_read(
    struct reader *r, const cJSON *item, const struct path *at, struct task_about *about);
void webhook_read(
    struct reader *r, const cJSON *item, const struct path *at, struct request_webhook *webhook);
/** webhook_judge(r, webhook, at): may events be sent there? One fault at most. */
void webhook_judge(struct reader *r, const struct request_webhook *webhook, const struct path *at);

/** request_read_tree(tree, kind, rules, out, problem): what request_read() does after parsing. */
int request_read_tree(const cJSON *tree, enum request_kind kind, const struct request_rules *rules,
    struct request *out, struct problem *problem);

#endif /* API_REQUEST_INTERNAL_H */
