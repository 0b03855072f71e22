/*
 * log.h - One JSON object per line on stderr.
 *
 * Every line has timestamp (RFC 3339 UTC, milliseconds), level, logger
 * ("worker.link") and message; fields follow in the order given. Strings from
 * outside are escaped, invalid UTF-8 replaced, and cut at 256 bytes. A line is
 * written by one write(2), so lines of several threads and processes do not mix.
 * Never log bodies, keys or secrets.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_CRITICAL
};

struct log_field {
    const char *name; /* NULL ends the list */
    enum { LOG_FIELD_TEXT, LOG_FIELD_INTEGER, LOG_FIELD_NUMBER, LOG_FIELD_BOOL } kind;
    union {
        const char *text; /* NULL is written as null */
        int64_t integer;
        double number;
        bool flag;
    };
};

#define LOG_TEXT(field_name, v)                                                                    \
    {                                                                                              \
        .name = (field_name), .kind = LOG_FIELD_TEXT, .text = (v)                                  \
    }
#define LOG_INT(field_name, v)                                                                     \
    {                                                                                              \
        .name = (field_name), .kind = LOG_FIELD_INTEGER, .integer = (int64_t)(v)                   \
    }
#define LOG_NUM(field_name, v)                                                                     \
    {                                                                                              \
        .name = (field_name), .kind = LOG_FIELD_NUMBER, .number = (v)                              \
    }
#define LOG_BOOL(field_name, v)                                                                    \
    {                                                                                              \
        .name = (field_name), .kind = LOG_FIELD_BOOL, .flag = (v)                                  \
    }

/** log_set_level(level): lines below ${level} are not written. Starts at INFO. */
void log_set_level(enum log_level level);

/** log_level_from_name(name, level): DEBUG INFO WARNING ERROR CRITICAL; 0 or -1. */
int log_level_from_name(const char *name, enum log_level *level);

/** log_line(level, logger, message, fields): use the macros below. Keeps errno. */
void log_line(
    enum log_level level, const char *logger, const char *message, const struct log_field *fields);

/* log_info("worker.link", "task finished", LOG_TEXT("task_id", id), LOG_INT("run_ms", n)); */
#define log_with(level, logger, message, ...)                                                      \
    log_line((level), (logger), (message),                                                         \
        (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = 0}})
#define log_debug(...)   log_with(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)    log_with(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_with(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...)   log_with(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif /* COMMON_LOG_H */
