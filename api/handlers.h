/*
 * handlers.h - What the route table names: one function per route, each answers once.
 */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

struct exchange;

/* submit.c */
void submit_single(struct exchange *e, const char *param);
void submit_batch(struct exchange *e, const char *param);

/* get_task.c; ${param} is the id */
void get_task(struct exchange *e, const char *param);
void get_task_result(struct exchange *e, const char *param);

/* events.c; ${param} is the id */
void get_task_events(struct exchange *e, const char *param);

/* change_task.c; ${param} is the id */
void cancel_task(struct exchange *e, const char *param);
void delete_task(struct exchange *e, const char *param);

/* webhooks.c; ${param} of the first is the id */
void replay_webhook(struct exchange *e, const char *param);
void ping_webhook(struct exchange *e, const char *param);

/* list_tasks.c */
void list_tasks(struct exchange *e, const char *param);
void list_dead_letters(struct exchange *e, const char *param);

/* dead_letters.c; ${param} is the id */
void requeue_dead_letter(struct exchange *e, const char *param);
void discard_dead_letter(struct exchange *e, const char *param);

/* show_queues.c; ${param} is the model, the priority is the second */
void list_queues(struct exchange *e, const char *param);
void pause_queue(struct exchange *e, const char *param);
void resume_queue(struct exchange *e, const char *param);

/* show_workers.c; ${param} is the worker's id */
void list_workers(struct exchange *e, const char *param);
void quiet_worker(struct exchange *e, const char *param);
void resume_worker(struct exchange *e, const char *param);

/* show_models.c; ${param} is the model */
void list_models(struct exchange *e, const char *param);
void get_model(struct exchange *e, const char *param);
void get_v2_model(struct exchange *e, const char *param);
void get_v2_model_ready(struct exchange *e, const char *param);

/* show_openapi.c */
void get_openapi(struct exchange *e, const char *param);

/* show_metrics.c */
void get_metrics(struct exchange *e, const char *param);

/* health_detailed.c */
void get_health_detailed(struct exchange *e, const char *param);

/* health.c */
void get_root(struct exchange *e, const char *param);
void get_healthz(struct exchange *e, const char *param);
void get_readyz(struct exchange *e, const char *param);
void get_v2(struct exchange *e, const char *param);
void get_v2_live(struct exchange *e, const char *param);
void get_v2_ready(struct exchange *e, const char *param);

#endif /* API_HANDLERS_H */
