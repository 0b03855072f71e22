/*
 * submit_read.c - The body of a submit, judged by the rules of this process.
 *
 * What may be left out is filled in from the configuration; what models there are is what
 * models.c knows at this moment. Asks nobody: submit.c does, when that is not enough.
 */
#include <string.h>
#include <sys/random.h>

#include "api/idempotency.h"
#include "api/media.h"
#include "api/models.h"
#include "api/request.h"
#include "api/server.h"
#include "api/submission.h"
#include "common/clock.h"
#include "common/log.h"

#define SUBMIT_NO_DIGEST "-" /* without an Idempotency-Key nothing is compared with it */

static bool
model_known(void *cookie, const char *name, uint32_t *context)
{
    struct submission *s = cookie;
    const struct model *model = models_find(s->exchange->server->models, name);

    s->is_model_unknown = model == NULL;
    if (model == NULL)
        return false;
    *context = s->context = model->context;
    return true;
}

static uint64_t
draw_seed(void *cookie)
{
    uint64_t seed;

    (void)cookie;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = (uint64_t)clock_wall_ms(); /* cannot fail for so few bytes once the pool is up */
    return seed & TASK_SEED_MAX;
}

static struct request_rules
rules_of(struct submission *s)
{
    struct exchange *e = s->exchange;
    struct server *server = e->server;
    const struct config *c = server->config;

    return (struct request_rules){
        .default_model = config_text(c, CONFIG_DEFAULT_MODEL),
        .temperature = config_number(c, CONFIG_DEFAULT_TEMPERATURE),
        .top_p = config_number(c, CONFIG_DEFAULT_TOP_P),
        .top_k = (uint32_t)config_integer(c, CONFIG_DEFAULT_TOP_K),
        .sample_count = (uint32_t)config_integer(c, CONFIG_DEFAULT_SAMPLE_COUNT),
        .result_ttl_seconds = config_integer(c, CONFIG_RESULT_TTL),
        .highest_priority = e->caller.highest,
        .webhook_enabled = config_text(c, CONFIG_WEBHOOK_SECRET_FILE) != NULL,
        .webhook_urls = server->webhook.url,
        .model_known = model_known,
        .draw_seed = draw_seed,
        .cookie = s,
    };
}

/* The body asks for more than its key may have. */
static int
refuse_priority(const struct caller *caller, struct problem *problem)
{
    cJSON *allowed = cJSON_CreateArray();

    for (int p = (int)caller->highest; p < TASK_PRIORITY_COUNT; p++)
        cJSON_AddItemToArray(
            allowed, cJSON_CreateString(task_priority_name((enum task_priority)p)));
    problem_set(problem, 403, "priority_not_allowed", "this key's highest priority is %s",
        task_priority_name(caller->highest));
    problem_extra(problem, "allowed", allowed);
    return -1;
}

int
submit_read(struct submission *s, const char *bytes, size_t size, struct problem *problem)
{
    struct exchange *e = s->exchange;
    struct request_rules rules = rules_of(s);
    bool is_msgpack = media_form(head_field(e->head, "Content-Type", 0)) == MEDIA_FORM_MSGPACK;
    char key[IDEMPOTENCY_KEY_MAX + 1];
    struct error err;

    request_clear(&s->request);
    if (request_read(bytes, size, is_msgpack ? REQUEST_MSGPACK : REQUEST_JSON, s->kind, &rules,
            &s->request, problem) == -1)
        return -1;
    if (s->request.priority < e->caller.highest)
        return refuse_priority(&e->caller, problem);
    if (idempotency_key(e->head, key, problem) == -1)
        return -1;
    s->model = models_find(e->server->models, s->request.model);
    strcpy(s->digest, SUBMIT_NO_DIGEST);
    if (s->model != NULL && key[0] == '\0')
        return 0;
    if (s->model != NULL &&
        idempotency_fingerprint(head_path(e->head), is_msgpack ? MEDIA_MSGPACK : MEDIA_JSON, bytes,
            size, s->digest, &err) == 0 &&
        idempotency_scope(e->caller.name, key, s->scope, &err) == 0)
        return 0;
    log_error("api.submit", "a judged request cannot be stored",
        LOG_TEXT("request_id", e->request_id), LOG_TEXT("model", s->request.model));
    return problem_set(problem, 500, "internal", "the request failed inside; the log tells why");
}
