/*
 * task_internal.h - Parts that the stored forms of a task and of its result share.
 *
 * For task*.c and result*.c only. Writers append one value; readers take one value and
 * leave a fault in the cursor; checks say ERR_INVALID.
 */
#ifndef COMMON_TASK_INTERNAL_H
#define COMMON_TASK_INTERNAL_H

#include <stdarg.h>

#include "common/msgpack_read.h"
#include "common/msgpack_write.h"
#include "common/task.h"

int task_check_times(const struct task_time *times, size_t n, struct error *err);
int task_check_params(const struct task_params *params, struct error *err);
int task_check_output(
    const struct task_output *output, size_t n_horizon, uint32_t sample_count, struct error *err);

/* Times are two bins: int64 microseconds of the wall clock, int16 minutes of offset. */
void task_write_wall_us(struct msgpack_write *w, const struct task_time *times, size_t n);
void task_write_offsets(struct msgpack_write *w, const struct task_time *times, size_t n);
void task_read_times(
    const uint8_t *wall_us, const uint8_t *offsets, struct task_time *times, size_t n);

void task_write_params(struct msgpack_write *w, const struct task_params *params);
int task_read_params(struct msgpack_read *r, struct task_params *params);

void task_write_output(struct msgpack_write *w, const struct task_output *output);
int task_read_output(struct msgpack_read *r, struct task_output *output);

/** task_read_version(r, newest): the member "version"; a fault unless 1..${newest}. */
int task_read_version(struct msgpack_read *r, uint32_t newest);

/** task_bytes_refuse(r, what, err): ERR_CORRUPT with ${r}'s fault and where it lies; -1. */
int task_bytes_refuse(const struct msgpack_read *r, const char *what, struct error *err);

void task_warning_set(struct task_warning *warning, const char *code, const char *pointer,
    const char *format, va_list args) __attribute__((format(printf, 4, 0)));
int task_check_warnings(const struct task_warning *warnings, size_t n, struct error *err);
void task_write_warnings(struct msgpack_write *w, const struct task_warning *warnings, size_t n);
int task_read_warnings(struct msgpack_read *r, struct task_warning *warnings, uint32_t *n);

#endif /* COMMON_TASK_INTERNAL_H */
