/*
 * error.h - What went wrong, said once, for whoever can act on it.
 *
 * A fallible function returns 0 or -1 (or a pointer or NULL) and takes a
 * struct error * last. The struct lives on the caller's stack, so reporting
 * an error never allocates.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#define ERROR_TEXT_MAX 256 /* bytes with the terminator; longer text is cut at a UTF-8 boundary */

enum error_code {
    ERR_NONE = 0,
    ERR_INVALID,     /* what was given is wrong; the text names field, value and limit */
    ERR_NOT_FOUND,   /* nothing by that name */
    ERR_CORRUPT,     /* stored bytes do not decode: file, task, result */
    ERR_MEMORY,      /* an allocation failed */
    ERR_SYSTEM,      /* a system call failed; the text ends in strerror */
    ERR_UNAVAILABLE, /* Redis is away, or answers something no Redis answers */
    ERR_CANCELLED,   /* told to stop */
    ERR_NOT_FINITE,  /* a computed value is NaN or infinite */
};

struct error {
    enum error_code code;
    char text[ERROR_TEXT_MAX];
};

/**
 * error_set(err, code, format, ...):
 * Fill ${err} (which may be NULL). Always returns -1, so a refusal is one line:
 * return error_set(err, ERR_INVALID, "top_p %g is over 1", top_p);
 */
int error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * error_errno(err, format, ...):
 * The same with ERR_SYSTEM (ERR_MEMORY for ENOMEM) and ": " strerror(errno).
 */
int error_errno(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** error_name(code): a stable lower-case word, "invalid" for ERR_INVALID. */
const char *error_name(enum error_code code);

#endif /* COMMON_ERROR_H */
