/*
 * announce.h - Tells systemd that the API is up; tells nobody when there is no systemd.
 */
#ifndef API_ANNOUNCE_H
#define API_ANNOUNCE_H

#include <stdint.h>

void announce_ready(void);
void announce_stopping(void);
void announce_alive(void); /* the loop turns */

/** announce_alive_ms(): how often systemd wants to hear that, halved; 0: it does not. */
int64_t announce_alive_ms(void);

#endif /* API_ANNOUNCE_H */
