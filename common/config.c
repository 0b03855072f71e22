/*
 * config.c - Reads flags, environment and file into one struct config.
 *
 * The sources are read from the strongest to the weakest; each value is checked
 * where it stands, and kept only if no stronger source has given one. Nothing is
 * ignored: what is not known or not valid ends the start.
 */
#include "common/config_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/redis.h"

#define PREFIX         "KRONOS_"
#define FILE_MAX_BYTES (1024 * 1024) /* a configuration; more is a wrong path */
#define WHITELIST_NAME "KRONOS_CONTAINER_WHITELIST"
#define SECURITY_NAME  "KRONOS_SECURITY_ENABLED"

/* Where a text stands, for error texts: "flag --slots", "environment", "FILE:12". */
struct origin {
    enum config_source source;
    unsigned line;
    const char *flag;
    const char *file;
};

/* What was seen on the way and matters only while loading. */
struct loading {
    struct config *config;
    unsigned line_of[CONFIG_COUNT]; /* of the file, 0: not there */
    unsigned retired_line_of[CONFIG_RETIRED_COUNT];
    bool has_security, security_is_off;
    bool has_whitelist;
    struct origin whitelist_origin;
};

static const char *
origin_text(const struct origin *origin, char *buf, size_t size)
{
    switch (origin->source) {
    case CONFIG_FROM_FLAG:
        snprintf(buf, size, "flag --%.40s", origin->flag);
        break;
    case CONFIG_FROM_ENV:
        snprintf(buf, size, "environment");
        break;
    case CONFIG_FROM_FILE:
        snprintf(buf, size, "%.100s:%u", origin->file, origin->line);
        break;
    case CONFIG_FROM_DEFAULT:
        snprintf(buf, size, "default");
        break;
    }
    return buf;
}

static int
find_name(const char *name, size_t len)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const char *known = config_options[id].name;

        if (known != NULL && strlen(known) == len && memcmp(known, name, len) == 0)
            return id;
    }
    return -1;
}

static int
find_flag(const char *flag, size_t len)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const char *known = config_options[id].flag;

        if (known != NULL && strlen(known) == len && memcmp(known, flag, len) == 0)
            return id;
    }
    return -1;
}

static int
find_retired(const char *name, size_t len)
{
    for (int i = 0; i < CONFIG_RETIRED_COUNT; i++) {
        if (strlen(config_retired_names[i]) == len &&
            memcmp(config_retired_names[i], name, len) == 0)
            return i;
    }
    return -1;
}

static int
refuse_unknown(const char *name, size_t len, const struct origin *origin, struct error *err)
{
    char unknown[64], where[128];
    const char *nearest = "";
    size_t least = SIZE_MAX;

    snprintf(unknown, sizeof(unknown), "%.*s", (int)(len < 60 ? len : 60), name);
    for (int id = 0; id < CONFIG_COUNT; id++) {
        const char *known = config_options[id].name;

        if (known != NULL && config_distance(unknown, known) < least) {
            least = config_distance(unknown, known);
            nearest = known;
        }
    }
    return error_set(err, ERR_INVALID, "%s (%s) is not a setting; the nearest is %s", unknown,
        origin_text(origin, where, sizeof(where)), nearest);
}

/* A setting and its text were met at ${origin}. */
static int
give(struct loading *loading, enum config_id id, const char *text, const struct origin *origin,
    struct error *err)
{
    struct config_value *value = &loading->config->values[id];
    struct config_value given = {.source = origin->source, .line = origin->line};
    char name[64], where[128];
    struct error reason;

    if (config_parse(id, text, &given, &reason) == -1)
        return error_set(err, ERR_INVALID, "%s (%s): %s",
            config_display_name(id, name, sizeof(name)), origin_text(origin, where, sizeof(where)),
            reason.text);
    if (id == CONFIG_REDIS_URL) { /* the only text with a form that every daemon reads alike */
        struct redis_settings settings;
        int status = redis_settings_parse(&settings, text, NULL, &reason);

        redis_settings_clear(&settings);
        if (status == -1)
            return error_set(err, ERR_INVALID, "%s (%s): %s", config_options[id].name,
                origin_text(origin, where, sizeof(where)), reason.text);
    }
    if (id == CONFIG_DEVICE && loading->config->daemon == CONFIG_WORKER && strcmp(text, "cpu") != 0)
        return error_set(err, ERR_INVALID, "%s (%s): '%.40s' is refused, cpu is all there is",
            config_options[id].name, origin_text(origin, where, sizeof(where)), text);

    /* The default is the weakest; of two flags the last counts. */
    if (value->source > origin->source)
        return 0;
    if (text[0] != '\0' && (given.text = strdup(text)) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    free(value->text);
    *value = given;
    return 0;
}

static int
give_retired(struct loading *loading, int i, const char *text, const struct origin *origin,
    struct error *err)
{
    struct config *config = loading->config;
    const char *name = config_retired_names[i];
    char where[128];
    bool flag;

    if (strcmp(name, SECURITY_NAME) == 0) {
        if (config_bool_from_text(text, &flag) == -1)
            return error_set(err, ERR_INVALID, "%s (%s): '%.40s' is none of 1 0 true false", name,
                origin_text(origin, where, sizeof(where)), text);
        if (!loading->has_security) /* the environment is read before the file */
            loading->security_is_off = !flag;
        loading->has_security = true;
    } else if (strcmp(name, WHITELIST_NAME) == 0 && !loading->has_whitelist) {
        loading->has_whitelist = true;
        loading->whitelist_origin = *origin;
    }
    for (unsigned k = 0; k < config->n_retired; k++) {
        if (config->retired[k] == name)
            return 0;
    }
    config->retired[config->n_retired++] = name;
    return 0;
}

/* ---- the command line ---- */

/* Does a bool flag take ${next} as its value? Otherwise it stands alone and means true. */
static bool
is_bool_text(const char *next)
{
    bool flag;

    return next != NULL && config_bool_from_text(next, &flag) == 0;
}

static int
unknown_flag(const char *flag, size_t len, struct error *err)
{
    static const char *const others[] = {"config", "print-config", "check", "help", "version"};
    char unknown[64];
    const char *nearest = "help";
    size_t least = SIZE_MAX;

    snprintf(unknown, sizeof(unknown), "%.*s", (int)(len < 60 ? len : 60), flag);
    for (size_t i = 0; i < CONFIG_COUNT + sizeof(others) / sizeof(others[0]); i++) {
        const char *known = i < CONFIG_COUNT ? config_options[i].flag : others[i - CONFIG_COUNT];

        if (known != NULL && config_distance(unknown, known) < least) {
            least = config_distance(unknown, known);
            nearest = known;
        }
    }
    return error_set(err, ERR_INVALID, "--%s is not a flag; the nearest is --%s", unknown, nearest);
}

static int
check_flag_is_ours(const struct config *config, enum config_id id, struct error *err)
{
    static const enum config_daemon daemons[] = {CONFIG_API, CONFIG_WORKER, CONFIG_WEBHOOK};
    const struct config_option *option = &config_options[id];

    if ((option->daemons & (unsigned)config->daemon) != 0)
        return 0;
    for (size_t i = 0; i < sizeof(daemons) / sizeof(daemons[0]); i++) {
        if ((option->daemons & (unsigned)daemons[i]) != 0)
            return error_set(err, ERR_INVALID, "--%s is a flag of %s, not of %s", option->flag,
                config_daemon_name(daemons[i]), config_daemon_name(config->daemon));
    }
    return error_set(err, ERR_INVALID, "--%s is nobody's flag", option->flag);
}

/* --print-config and its kin; the first of several counts. */
static bool
find_action(const char *word, enum config_action *action)
{
    static const struct {
        const char *word;
        enum config_action action;
    } words[] = {
        {"--help", CONFIG_HELP},
        {"-h", CONFIG_HELP},
        {"--version", CONFIG_VERSION},
        {"--print-config", CONFIG_PRINT},
        {"--check", CONFIG_CHECK},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i].word) == 0) {
            if (*action == CONFIG_RUN)
                *action = words[i].action;
            return true;
        }
    }
    return false;
}

static int
keep_file_name(struct config *config, const char *path, struct error *err)
{
    if (path[0] == '\0')
        return error_set(err, ERR_INVALID, "--config needs a file's name");
    free(config->file);
    if ((config->file = strdup(path)) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    return 0;
}

static int
read_flags(struct loading *loading, int argc, char *const argv[], enum config_action *action,
    struct error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        struct origin origin = {.source = CONFIG_FROM_FLAG};
        const char *equals, *text;
        size_t len;
        int id;

        if (find_action(word, action))
            continue;
        if (strcmp(word, "-v") == 0) {
            origin.flag = "v";
            if (give(loading, CONFIG_LOG_LEVEL, "DEBUG", &origin, err) == -1)
                return -1;
            continue;
        }
        if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
            return error_set(
                err, ERR_INVALID, "'%.60s' is not a flag; see --help for all of them", word);
        word += 2;
        equals = strchr(word, '=');
        len = equals != NULL ? (size_t)(equals - word) : strlen(word);
        text = equals != NULL ? equals + 1 : next;
        if (len == 6 && memcmp(word, "config", 6) == 0) {
            if (text == NULL)
                return error_set(err, ERR_INVALID, "--config needs a file's name");
            if (keep_file_name(loading->config, text, err) == -1)
                return -1;
            i += equals == NULL;
            continue;
        }
        if ((id = find_flag(word, len)) == -1)
            return unknown_flag(word, len, err);
        if (check_flag_is_ours(loading->config, (enum config_id)id, err) == -1)
            return -1;
        origin.flag = config_options[id].flag;
        if (equals == NULL && config_options[id].type == CONFIG_TYPE_BOOL && !is_bool_text(next))
            text = "true";
        else if (text == NULL)
            return error_set(err, ERR_INVALID, "--%s needs a value", origin.flag);
        else
            i += equals == NULL;
        if (give(loading, (enum config_id)id, text, &origin, err) == -1)
            return -1;
    }
    return 0;
}

/* ---- the environment ---- */

static int
read_environment(struct loading *loading, char *const environment[], struct error *err)
{
    const struct origin origin = {.source = CONFIG_FROM_ENV};

    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        const char *entry = environment[i], *equals = strchr(entry, '=');
        size_t len;
        int found;

        if (equals == NULL || strncmp(entry, PREFIX, strlen(PREFIX)) != 0)
            continue;
        len = (size_t)(equals - entry);
        if ((found = find_name(entry, len)) != -1) {
            if (give(loading, (enum config_id)found, equals + 1, &origin, err) == -1)
                return -1;
        } else if ((found = find_retired(entry, len)) != -1) {
            if (give_retired(loading, found, equals + 1, &origin, err) == -1)
                return -1;
        } else {
            return refuse_unknown(entry, len, &origin, err);
        }
    }
    return 0;
}

/* ---- the file ---- */

static char *
trim(char *text)
{
    size_t len;

    text += strspn(text, " \t");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        text[--len] = '\0';
    return text;
}

/* End ${line} where a comment starts: at a # that begins it or follows white space. */
static void
cut_comment(char *line)
{
    for (char *hash = strchr(line, '#'); hash != NULL; hash = strchr(hash + 1, '#')) {
        if (hash == line || hash[-1] == ' ' || hash[-1] == '\t') {
            *hash = '\0';
            return;
        }
    }
}

static int
read_line(struct loading *loading, char *line, struct origin *origin, struct error *err)
{
    char *key, *value;
    unsigned *seen;
    int found;
    bool is_retired = false;

    cut_comment(line);
    key = trim(line);
    if (key[0] == '\0')
        return 0;
    if ((value = strchr(key, '=')) == NULL) /* it may be a secret's second line: not quoted */
        return error_set(
            err, ERR_INVALID, "%.100s:%u: not of the form KEY=VALUE", origin->file, origin->line);
    *value++ = '\0';
    key = trim(key);
    value = trim(value);
    if ((found = find_name(key, strlen(key))) == -1) {
        if ((found = find_retired(key, strlen(key))) == -1)
            return refuse_unknown(key, strlen(key), origin, err);
        is_retired = true;
    }
    seen = is_retired ? &loading->retired_line_of[found] : &loading->line_of[found];
    if (*seen != 0)
        return error_set(err, ERR_INVALID, "%.100s: %s stands in line %u and again in line %u",
            origin->file, key, *seen, origin->line);
    *seen = origin->line;
    if (is_retired)
        return give_retired(loading, found, value, origin, err);
    return give(loading, (enum config_id)found, value, origin, err);
}

static int
read_file(struct loading *loading, struct error *err)
{
    const char *path = loading->config->file;
    struct origin origin = {.source = CONFIG_FROM_FILE, .file = path};
    char *line = NULL;
    size_t size = 0;
    struct stat st;
    int status = -1;
    ssize_t len;
    FILE *file;

    if ((file = fopen(path, "re")) == NULL)
        return error_errno(err, "open --config %s", path);
    if (fstat(fileno(file), &st) == -1) {
        error_errno(err, "stat --config %s", path);
        goto close_file;
    }
    if (S_ISDIR(st.st_mode) || st.st_size > FILE_MAX_BYTES) {
        error_set(err, ERR_INVALID, "--config %.100s is a directory or over %d bytes", path,
            FILE_MAX_BYTES);
        goto close_file;
    }
    while ((len = getline(&line, &size, file)) != -1) {
        origin.line++;
        if (strlen(line) != (size_t)len) {
            error_set(err, ERR_INVALID, "%.100s:%u: a zero byte", path, origin.line);
            goto close_file;
        }
        if (read_line(loading, line, &origin, err) == -1)
            goto close_file;
    }
    if (ferror(file))
        error_errno(err, "read --config %s", path);
    else
        status = 0;

close_file:
    free(line);
    fclose(file);
    return status;
}

/* ---- all of it ---- */

/* A list of names that any client can claim must not look like protection. */
static int
check_whitelist(const struct loading *loading, struct error *err)
{
    char where[128];

    if (!loading->has_whitelist || loading->security_is_off)
        return 0;
    return error_set(err, ERR_INVALID,
        WHITELIST_NAME " (%s) is refused: it never kept anyone out; use KRONOS_KEYS_FILE or "
                       "KRONOS_PEER_ALLOW",
        origin_text(&loading->whitelist_origin, where, sizeof(where)));
}

static int
read_defaults(struct loading *loading, struct error *err)
{
    const struct origin origin = {.source = CONFIG_FROM_DEFAULT};

    for (int id = 0; id < CONFIG_COUNT; id++) {
        if (config_options[id].default_text != NULL &&
            give(loading, (enum config_id)id, config_options[id].default_text, &origin, err) == -1)
            return -1;
    }
    return 0;
}

int
config_load(struct config **config, enum config_daemon daemon, int argc, char *const argv[],
    char *const environment[], enum config_action *action, struct error *err)
{
    struct loading loading = {0};

    *config = NULL;
    *action = CONFIG_RUN;
    if ((loading.config = calloc(1, sizeof(**config))) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory");
    loading.config->daemon = daemon;
    if (read_defaults(&loading, err) == -1 || read_flags(&loading, argc, argv, action, err) == -1)
        goto free_config;
    /* Help must come also where the environment is wrong. */
    if (*action != CONFIG_HELP && *action != CONFIG_VERSION) {
        if (read_environment(&loading, environment, err) == -1)
            goto free_config;
        if (loading.config->file != NULL && read_file(&loading, err) == -1)
            goto free_config;
        if (check_whitelist(&loading, err) == -1)
            goto free_config;
    }
    *config = loading.config;
    return 0;

free_config:
    config_free(loading.config);
    return -1;
}

void
config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (int id = 0; id < CONFIG_COUNT; id++) {
        char *text = config->values[id].text;

        if (text != NULL)
            explicit_bzero(text, strlen(text)); /* it may hold a password */
        free(text);
    }
    free(config->file);
    free(config);
}

const char *
config_text(const struct config *config, enum config_id id)
{
    enum config_type type = config_options[id].type;

    assert(type == CONFIG_TYPE_TEXT || type == CONFIG_TYPE_SECRET || type == CONFIG_TYPE_LEVEL ||
           type == CONFIG_TYPE_NETWORKS);
    (void)type;
    return config->values[id].text;
}

int64_t
config_integer(const struct config *config, enum config_id id)
{
    assert(config_options[id].type == CONFIG_TYPE_INTEGER);
    return config->values[id].integer;
}

double
config_number(const struct config *config, enum config_id id)
{
    assert(config_options[id].type == CONFIG_TYPE_NUMBER);
    return config->values[id].number;
}

bool
config_bool(const struct config *config, enum config_id id)
{
    assert(config_options[id].type == CONFIG_TYPE_BOOL);
    return config->values[id].flag;
}

enum log_level
config_level(const struct config *config, enum config_id id)
{
    assert(config_options[id].type == CONFIG_TYPE_LEVEL);
    return config->values[id].level;
}

const char *
config_retired(const struct config *config, unsigned i)
{
    return i < config->n_retired ? config->retired[i] : NULL;
}
