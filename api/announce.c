/*
 * announce.c - sd_notify() behind functions that always exist.
 *
 * A message that does not arrive changes nothing for us, so results are ignored.
 */
#include "api/announce.h"

#ifdef HAVE_LIBSYSTEMD

#include <systemd/sd-daemon.h>

void
announce_ready(void)
{
    sd_notify(0, "READY=1");
}

void
announce_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void
announce_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

int64_t
announce_alive_ms(void)
{
    uint64_t timeout_us;

    return sd_watchdog_enabled(0, &timeout_us) > 0 ? (int64_t)(timeout_us / 2000) : 0;
}

#else

void
announce_ready(void)
{
}

void
announce_stopping(void)
{
}

void
announce_alive(void)
{
}

int64_t
announce_alive_ms(void)
{
    return 0;
}

#endif
