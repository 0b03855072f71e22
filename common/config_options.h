/*
 * config_options.h - Every setting of every daemon, once.
 *
 * Included several times with another X each (no guard on purpose):
 * X(id, name, flag, type, default, minimum, maximum, daemons, help)
 *   type     TEXT INTEGER NUMBER BOOL LEVEL (a log level) SECRET (a text printed as ***)
 *            NETWORKS (a text that cidr_list_parse() takes)
 *   default  as text; NULL: not set
 *   limits   of INTEGER and NUMBER, ignored for others
 *   daemons  who reads it: A api, W worker, H webhook
 * A name that is NULL: a flag only. A flag that is NULL: environment and file only.
 * A setting that nothing reads yet is still known here, so that one environment
 * serves all daemons; --help shows a daemon its own only.
 */
/* clang-format off */
#define A CONFIG_API
#define W CONFIG_WORKER
#define H CONFIG_WEBHOOK

X(LISTEN, "KRONOS_LISTEN", "listen", TEXT, "127.0.0.1:8000", 0, 0, A,
    "address:port; port 0 picks one and logs it")
X(REDIS_URL, "KRONOS_REDIS_URL", "redis", TEXT, "redis://127.0.0.1:6379/0", 0, 0, A | W | H,
    "redis://[user@]host:port/db or unix:///path.sock")
X(REDIS_PASSWORD_FILE, "KRONOS_REDIS_PASSWORD_FILE", "redis-password-file", TEXT, NULL, 0, 0,
    A | W | H, "file whose first line is the Redis password")
X(ALLOW_VOLATILE, "KRONOS_ALLOW_VOLATILE", "allow-volatile", BOOL, "false", 0, 0, A | W | H,
    "run on a Redis that may lose tasks (no AOF, evicting)")
X(LOG_LEVEL, "KRONOS_LOG_LEVEL", "log-level", LEVEL, "INFO", 0, 0, A | W | H,
    "DEBUG INFO WARNING ERROR CRITICAL")
X(DEFAULT_MODEL, "KRONOS_DEFAULT_MODEL", "default-model", TEXT, "kronos-small", 0, 0, A | H,
    "model of requests that name none")
X(APP_NAME, "KRONOS_APP_NAME", "app-name", TEXT, "Kronosq", 0, 0, A, "what GET / says")
X(DEFAULT_TEMPERATURE, "KRONOS_DEFAULT_TEMPERATURE", "default-temperature", NUMBER, "1.0", 0, 5, A,
    "sampling temperature; 0 is greedy")
X(DEFAULT_TOP_K, "KRONOS_DEFAULT_TOP_K", "default-top-k", INTEGER, "0", 0, 1024, A, "0 is off")
X(DEFAULT_TOP_P, "KRONOS_DEFAULT_TOP_P", "default-top-p", NUMBER, "0.9", 0.000001, 1, A,
    "nucleus probability")
X(DEFAULT_SAMPLE_COUNT, "KRONOS_DEFAULT_SAMPLE_COUNT", "default-sample-count", INTEGER, "1", 1, 256,
    A, "paths averaged into a forecast")
X(RESULT_TTL, "KRONOS_RESULT_TTL", "result-ttl", INTEGER, "86400", 60, 604800, A,
    "seconds a result is kept")
X(QUEUE_MAX_TASKS, "KRONOS_QUEUE_MAX_TASKS", "queue-max-tasks", INTEGER, "10000", 1, 1000000, A,
    "queued tasks per model and priority")
X(QUEUE_MAX_MB, "KRONOS_QUEUE_MAX_MB", "queue-max-mb", INTEGER, "512", 1, 1048576, A,
    "MiB of queued inputs per model")
X(MAX_QUEUE_SECONDS, "KRONOS_MAX_QUEUE_SECONDS", "max-queue-seconds", INTEGER, "86400", 1, 604800,
    A | W, "longest wait in the queue; the same for all that share a Redis")
X(MAX_REQUEST_SIZE_MB, "KRONOS_MAX_REQUEST_SIZE_MB", "max-request-size-mb", INTEGER, "10", 1, 64, A,
    "MiB of a request body")
X(HEADER_TIMEOUT, "KRONOS_HEADER_TIMEOUT", "header-timeout", NUMBER, "10", 0.1, 600, A,
    "seconds from first byte to complete headers")
X(BODY_TIMEOUT, "KRONOS_BODY_TIMEOUT", "body-timeout", NUMBER, "30", 0.1, 600, A,
    "seconds from headers to complete body")
X(IDLE_TIMEOUT, "KRONOS_IDLE_TIMEOUT", "idle-timeout", NUMBER, "60", 0.1, 3600, A,
    "seconds an idle connection stays open")
X(MAX_CONNECTIONS, "KRONOS_MAX_CONNECTIONS", "max-connections", INTEGER, "4096", 1, 1000000, A,
    "open connections")
X(MAX_CONNECTIONS_PER_PEER, "KRONOS_MAX_CONNECTIONS_PER_PEER", "max-connections-per-peer", INTEGER,
    "256", 1, 1000000, A, "open connections of one address; loopback and trusted proxies exempt")
X(MAX_WAITERS, "KRONOS_MAX_WAITERS", "max-waiters", INTEGER, "2048", 0, 1000000, A, "held requests")
X(MAX_STREAMS, "KRONOS_MAX_STREAMS", "max-streams", INTEGER, "512", 0, 1000000, A, "event streams")
X(SYNC_DEFAULT, "KRONOS_SYNC_DEFAULT", "sync-default", BOOL, "false", 0, 0, A,
    "hold submits like the FastAPI service did")
X(REQUEST_TIMEOUT, "KRONOS_REQUEST_TIMEOUT", "request-timeout", INTEGER, "300", 1, 3600, A,
    "seconds a submit is held in sync mode")
X(ADMISSION, "KRONOS_ADMISSION", "admission", BOOL, "true", 0, 0, A,
    "refuse deadlines that cannot be met")
X(KEYS_FILE, "KRONOS_KEYS_FILE", "keys-file", TEXT, NULL, 0, 0, A,
    "API keys, one per line: name sha256-hex scopes max-priority rate; `kronosq key new` makes one")
X(INSECURE, "KRONOS_INSECURE", "insecure", BOOL, "false", 0, 0, A,
    "serve other than loopback without keys")
X(PEER_ALLOW, "KRONOS_PEER_ALLOW", "peer-allow", NETWORKS, NULL, 0, 0, A,
    "networks that may connect, as 10.0.0.0/8,::1; not set: everybody")
X(TRUSTED_PROXIES, "KRONOS_TRUSTED_PROXIES", "trusted-proxies", NETWORKS, NULL, 0, 0, A,
    "networks of proxies whose X-Forwarded-For and X-Container-Name are logged")
X(RATE_LIMIT_ENABLED, "KRONOS_RATE_LIMIT_ENABLED", "rate-limit-enabled", BOOL, "true", 0, 0, A,
    "limit submits per key; false: also those of a line with a rate of its own")
X(RATE_LIMIT_PER_MINUTE, "KRONOS_RATE_LIMIT_PER_MINUTE", "rate-limit-per-minute", INTEGER, "100", 1,
    1000000, A, "submits per key and minute, where its line says -")
X(ENABLE_METRICS, "KRONOS_ENABLE_METRICS", "enable-metrics", BOOL, "true", 0, 0, A,
    "serve /metrics")
X(METRICS_AUTH, "KRONOS_METRICS_AUTH", "metrics-auth", BOOL, "false", 0, 0, A, "metrics need a key")
X(PUBLIC_URL, "KRONOS_PUBLIC_URL", "public-url", TEXT, NULL, 0, 0, H,
    "start of result URLs in webhooks")
X(MODEL_PATH, "KRONOS_MODEL_PATH", "model", TEXT, NULL, 0, 0, W,
    "directory with config.json and model.safetensors; default: the bundled kronos-demo")
X(TOKENIZER_PATH, "KRONOS_TOKENIZER_PATH", "tokenizer", TEXT, NULL, 0, 0, W,
    "the tokenizer's directory; default: tokenizer in or beside the model")
X(MODEL_NAME, "KRONOS_MODEL_NAME", "name", TEXT, "kronos-small", 0, 0, W,
    "name clients ask for; workers of one name share a queue")
X(MODEL_ID, "KRONOS_MODEL_ID", "model-id", TEXT, NULL, 0, 0, W,
    "reported as model_version; default name@hash")
X(TOKENIZER_ID, "KRONOS_TOKENIZER_ID", "tokenizer-id", TEXT, NULL, 0, 0, W,
    "reported as tokenizer_version")
X(SLOTS, "KRONOS_SLOTS", "slots", INTEGER, "8", 1, 256, W, "sample paths that step together")
X(THREADS, "KRONOS_THREADS", "threads", INTEGER, "1", 1, 64, W,
    "threads of one computation: a task alone ends sooner, results stay the same")
X(CACHE_DIR, "KRONOS_CACHE_DIR", "cache-dir", TEXT, NULL, 0, 0, W,
    "directory of prepared weights, one copy for all workers of this host; none: a copy of its own")
X(WEIGHTS, "KRONOS_WEIGHTS", "weights", TEXT, "fp32", 0, 0, W,
    "fp32, or fp16: weights kept in half precision, faster and not the reference's values")
X(KV, "KRONOS_KV", "kv", TEXT, "fp32", 0, 0, W,
    "fp32, or fp16: attention's keys and values kept in half precision")
X(MAX_CONTEXT, "KRONOS_MAX_CONTEXT", "max-context", INTEGER, "512", 2, 4096, W,
    "bars the model looks back over")
X(CLIP_VALUE, "KRONOS_CLIP_VALUE", "clip-value", NUMBER, "5.0", 0.1, 100, W,
    "bound of normalised inputs")
X(QUEUES, "KRONOS_QUEUES", "queues", TEXT, "urgent,normal,low", 0, 0, W,
    "priorities this worker takes")
X(INFERENCE_TIMEOUT, "KRONOS_INFERENCE_TIMEOUT", "inference-timeout", INTEGER, "240", 1, 86400, W,
    "seconds one run may take")
X(STARTUP_TIMEOUT, "KRONOS_STARTUP_TIMEOUT", "startup-timeout", INTEGER, "300", 1, 3600, W,
    "seconds until Redis must have answered and the model be loaded")
X(DRAIN_TIMEOUT, "KRONOS_DRAIN_TIMEOUT", "drain-timeout", INTEGER, "25", 0, 3600, W,
    "seconds to finish in after TERM; then tasks are released")
X(DEVICE, "KRONOS_DEVICE", "device", TEXT, "cpu", 0, 0, W, "cpu is all there is")
X(WEBHOOK_SECRET_FILE, "KRONOS_WEBHOOK_SECRET_FILE", "webhook-secret-file", TEXT, NULL, 0, 0, A | H,
    "master secrets; without it requests with a webhook are refused")
X(WEBHOOK_ALLOW_HTTP, "KRONOS_WEBHOOK_ALLOW_HTTP", "webhook-allow-http", BOOL, "false", 0, 0, A | H,
    "allow http receivers")
X(WEBHOOK_ALLOW_CIDR, "KRONOS_WEBHOOK_ALLOW_CIDR", "webhook-allow-cidr", NETWORKS, NULL, 0, 0,
    A | H,
    "private networks receivers may be in")
X(WEBHOOK_PORTS, "KRONOS_WEBHOOK_PORTS", "webhook-ports", TEXT, "443,8443", 0, 0, A | H,
    "ports receivers may have")
X(WEBHOOK_TIMEOUT, "KRONOS_WEBHOOK_TIMEOUT", "webhook-timeout", INTEGER, "15", 1, 300, H,
    "seconds of one delivery")
X(WEBHOOK_CONNECT_TIMEOUT, "KRONOS_WEBHOOK_CONNECT_TIMEOUT", "webhook-connect-timeout", INTEGER,
    "5", 1, 60, H, "seconds to connect")
X(WEBHOOK_PER_HOST, "KRONOS_WEBHOOK_PER_HOST", "webhook-per-host", INTEGER, "4", 1, 256, H,
    "deliveries at once to one host")
X(WEBHOOK_CONCURRENCY, "KRONOS_WEBHOOK_CONCURRENCY", "webhook-concurrency", INTEGER, "256", 1, 4096,
    H, "deliveries at once")
X(WEBHOOK_CA_FILE, "KRONOS_WEBHOOK_CA_FILE", "webhook-ca-file", TEXT, NULL, 0, 0, H,
    "PEM file of authorities receivers' certificates are checked by, instead of the system's")
X(PRINT_SECRET, NULL, "print-secret", TEXT, NULL, 0, 0, H,
    "print the secret that webhooks of the key of this name are signed with, and end")
X(RETRY_SCALE, NULL, "retry-scale", NUMBER, "1", 0, 1, H,
    "times the waits before further attempts and of resting hosts; for tests")
X(ONCE, NULL, "once", BOOL, "false", 0, 0, W, "end after one task")
X(STEP_DELAY_MS, NULL, "step-delay-ms", INTEGER, "0", 0, 60000, W,
    "wait after every step, to watch a slow forecast")
X(LEASE_MS, NULL, "lease-ms", INTEGER, "15000", 300, 3600000, W,
    "lease of a claimed task, renewed three times in it; for tests")
X(API_KEY, "KRONOS_API_KEY", NULL, SECRET, NULL, 0, 0, 0, "the key kronosq, the command, calls with")
#ifdef KRONOSQ_DEBUG
X(FAIL, "KRONOS_FAIL", NULL, TEXT, NULL, 0, 0, A | W | H,
    "debug builds: point:probability[:action],... at which the process dies (common/failpoint.h)")
#endif

#undef A
#undef W
#undef H
/* clang-format on */
