/*
 * python_repr.h - A double as Python prints it, for messages old clients know: 1.0, 1e-05.
 */
#ifndef API_PYTHON_REPR_H
#define API_PYTHON_REPR_H

#include <stddef.h>

#define PYTHON_REPR_MAX 32

/** python_repr(value, text): repr(float) into ${text} [PYTHON_REPR_MAX]; returns the length. */
size_t python_repr(double value, char *text);

#endif /* API_PYTHON_REPR_H */
