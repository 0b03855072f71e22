/*
 * notify.h - Tells systemd how the process is; tells nobody when there is no systemd.
 */
#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

#include <stdint.h>

void notify_ready(void);
void notify_stopping(void);
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2))); /* one line */
void notify_watchdog(void); /* still making progress */

/** notify_watchdog_ms(): how often systemd wants to hear that, halved; 0: it does not. */
int64_t notify_watchdog_ms(void);

#endif /* COMMON_NOTIFY_H */
