"""What goes wrong, in an order that a seed decides. When exactly is up to the machine, so a run with the same seed is
much the same, not the same."""
import kronosq

POINTS = ("after_blpop", "after_claim", "before_renew", "after_renew", "mid_forecast", "before_complete",
          "after_complete", "before_fail", "before_release", "before_sweep")
RARELY = {"mid_forecast": 0.0004, "before_sweep": 0.002, "before_fail": 0.05, "before_release": 0.05}


def failpoints(rng):
    """For a fleet's workers: every point, mostly deadly."""
    parts = []
    for point in POINTS:
        action = rng.choice(("kill", "kill", "stop", "close" if point != "mid_forecast" else "kill"))
        parts.append(f"{point}:{RARELY.get(point, 0.004)}:{action},")
    return "".join(parts)


class Faults:
    def __init__(self, fleet, load, rng):
        self.fleet, self.load, self.rng = fleet, load, rng
        self.choices = [  # weight, what; one or two in a second
            (30, self.kill_worker), (6, self.stall_worker), (6, self.end_worker), (2, self.poison),
            (1.5, self.kill_redis), (2, self.kill_clients), (2, self.pause_clients), (1.5, self.redis_sleeps),
            (4, self.kill_hook), (1, self.end_hook), (1, self.stall_hook), (4, self.kill_api), (1, self.end_api), (1, self.stall_api),
            (4, self.drop_connections), (4, self.lose_replies), (4, self.stall_network), (2, self.deaf_connection)]

    def next(self):
        """Do one; returns the seconds until the next."""
        weights, what = zip(*self.choices)
        try:
            self.rng.choices(what, weights)[0]()
        except (OSError, kronosq.RedisError):
            pass  # Redis is away, which is one of the faults
        return self.rng.expovariate(1 / 0.5)

    def _one(self, members):
        up = [m for m in members if m.is_up]
        return self.rng.choice(up) if up else None

    # ---- processes ----

    def kill_worker(self):
        if victim := self._one(self.fleet.workers):
            self.fleet.kill(victim)

    def stall_worker(self):
        if victim := self._one(self.fleet.workers):
            self.fleet.stall(victim)

    def end_worker(self):
        if victim := self._one(self.fleet.workers):
            self.fleet.end(victim)

    def poison(self):
        self.load.poison_wanted += 1

    def kill_api(self):
        if victim := self._one(self.fleet.apis):
            self.fleet.kill(victim)

    def end_api(self):
        if victim := self._one(self.fleet.apis):
            self.fleet.end(victim)

    def stall_api(self):
        if victim := self._one(self.fleet.apis):
            self.fleet.stall(victim)

    def kill_hook(self):
        if victim := self._one(self.fleet.hooks):
            self.fleet.kill(victim)

    def end_hook(self):
        if victim := self._one(self.fleet.hooks):
            self.fleet.end(victim)

    def stall_hook(self):
        if victim := self._one(self.fleet.hooks):
            self.fleet.stall(victim)

    # ---- Redis ----

    def kill_redis(self):
        if self.fleet.redis.process.is_running():
            self.fleet.kill_redis(self.rng.choice((0, 0.3, 2, 4)))

    def kill_clients(self):
        self.fleet.redis.command("CLIENT", "KILL", "TYPE", "normal")
        self.fleet.counts["connection drops"] += 1

    def pause_clients(self):
        self.fleet.redis.command("CLIENT", "PAUSE", self.rng.randint(100, 1500), self.rng.choice(("WRITE", "ALL")))
        self.fleet.counts["redis pauses"] += 1

    def redis_sleeps(self):
        self.fleet.redis.command("DEBUG", "SLEEP", round(self.rng.uniform(0.1, 2), 2))
        self.fleet.counts["redis pauses"] += 1

    # ---- the network ----

    def drop_connections(self):
        self.fleet.proxy.drop_all()
        self.fleet.counts["connection drops"] += 1

    def lose_replies(self):
        self.fleet.proxy.lose_replies()
        self.fleet.counts["connection drops"] += 1

    def stall_network(self):
        self.fleet.proxy.stall(self.rng.uniform(0.2, 3))
        self.fleet.counts["network stalls"] += 1

    def deaf_connection(self):
        self.fleet.proxy.deafen(self.rng)
        self.fleet.counts["network stalls"] += 1
