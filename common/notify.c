/*
 * notify.c - sd_notify() behind functions that always exist.
 *
 * A message that does not arrive changes nothing for us, so results are ignored.
 */
#include "common/notify.h"

#ifdef HAVE_LIBSYSTEMD

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

void
notify_ready(void)
{
    sd_notify(0, "READY=1");
}

void
notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void
notify_status(const char *format, ...)
{
    char line[256];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    sd_notifyf(0, "STATUS=%s", line);
}

void
notify_watchdog(void)
{
    sd_notify(0, "WATCHDOG=1");
}

int64_t
notify_watchdog_ms(void)
{
    uint64_t timeout_us;

    return sd_watchdog_enabled(0, &timeout_us) > 0 ? (int64_t)(timeout_us / 2000) : 0;
}

#else

void
notify_ready(void)
{
}

void
notify_stopping(void)
{
}

void
notify_status(const char *format, ...)
{
    (void)format;
}

void
notify_watchdog(void)
{
}

int64_t
notify_watchdog_ms(void)
{
    return 0;
}

#endif
