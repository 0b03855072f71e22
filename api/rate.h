/*
 * rate.h - How many submits a key may make in a minute.
 */
#ifndef API_RATE_H
#define API_RATE_H

struct exchange;

/**
 * rate_serve(e): serve a submit (ROUTE_COUNTS) once it is counted and within the rate of its key;
 * else answer 429. At once when the caller has no rate.
 */
void rate_serve(struct exchange *e);

#endif /* API_RATE_H */
