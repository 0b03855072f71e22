"""Synthetic candles: markets whose laws are known, so that a forecast can be judged.

markets(rng, n, bars) makes n series of bars candles at once. No series is taken from any exchange.
Each has an interval from one minute to a day, a price between 0.0001 and 100,000, a calendar (open
around the clock, or sessions on weekdays with gaps between them), a volume with a profile over the
day, and one of the laws below. One in seven has no volume at all.

    walk      independent steps, one volatility: nothing but the spread can be forecast
    switching a walk that changes between a quiet and a wild volatility
    reverting pulled back to a level that hardly moves; half of a distance is lost in 6 to 30 bars
    trending  a drift of 0.1 to 0.3 of a bar's volatility, up or down, that now and then turns
"""
import numpy as np

LAWS = ("walk", "switching", "reverting", "trending")
INTERVALS = np.array([1, 5, 15, 30, 60, 240, 1440])
MINUTES_PER_DAY = 1440
SESSION_OPEN, SESSION_MINUTES = 570, 390  # 09:30 to 16:00, on weekdays
FIRST_DAY, LAST_DAY = 9131, 20089  # 1995-01-01 and 2025-01-01, in days since 1970-01-01, a Thursday


def timestamps(rng, n, bars):
    """Minutes since 1970 on the exchange's wall clock [n, bars], what opens a session, the intervals."""
    interval = rng.choice(INTERVALS, n, p=[0.12, 0.22, 0.16, 0.12, 0.16, 0.08, 0.14])
    is_session = (rng.random(n) < 0.4) & (interval <= 60) | (rng.random(n) < 0.5) & (interval == 1440)
    k = np.arange(bars)[None, :]
    day = rng.integers(FIRST_DAY, LAST_DAY, n)

    per_day = np.where(interval == 1440, 1, SESSION_MINUTES // np.minimum(interval, SESSION_MINUTES))
    bar = k + rng.integers(0, 1 << 20, n)[:, None] % per_day[:, None]
    session = bar // per_day[:, None]
    slot = bar - session * per_day[:, None]
    weekday = (day + 3) % 7  # Monday is 0
    weekday_start = np.minimum(weekday, 4)[:, None]
    trading_day = (day - weekday)[:, None] + (weekday_start + session) // 5 * 7 + (weekday_start + session) % 5
    in_session = trading_day * MINUTES_PER_DAY + np.where(
        interval == 1440, 0, SESSION_OPEN)[:, None] + slot * interval[:, None]

    start = day * MINUTES_PER_DAY + (rng.integers(0, MINUTES_PER_DAY, n) // interval) * interval
    around_the_clock = start[:, None] + k * interval[:, None]

    minutes = np.where(is_session[:, None], in_session, around_the_clock)
    opens = is_session[:, None] & (slot == 0)
    return minutes, opens, interval, is_session


def day_profile(rng, minutes, interval, is_session):
    """What the hour and the weekday do to volume, and a little to volatility [n, bars]; mean near 1."""
    n = len(interval)
    of_day = (minutes % MINUTES_PER_DAY).astype(np.float64)
    x = np.clip((of_day - SESSION_OPEN) / SESSION_MINUTES, 0, 1)
    smile = 0.55 + 5.4 * (x - 0.45) ** 2  # busy opening, quiet noon, busier end
    peak = 14 * 60 + 60 * rng.normal(0, 1, n)[:, None]
    wave = 1 + 0.7 * np.cos(2 * np.pi * (of_day - peak) / MINUTES_PER_DAY)
    week = np.array([0.85, 1.0, 1.08, 1.1, 1.0, 0.6, 0.6])[(minutes // MINUTES_PER_DAY + 3) % 7]
    shape = np.where(is_session[:, None], smile, wave)
    return np.where(interval[:, None] == 1440, 1.0, shape) * week


def steps(rng, n, bars, law, profile):
    """Log-returns from open to close [n, bars], their standard deviations, and what made them: the share
    of a distance that is pulled back each bar [n], the distance and the drift after each bar [n, bars]."""
    sigma = 10 ** rng.uniform(-3.3, -1.8, n)
    fat = rng.random(n) < 0.5
    noise = rng.standard_normal((n, bars))
    tail = np.sqrt(rng.chisquare(6, (n, bars)) / 4)  # Student's t with 6 degrees, variance 1
    noise = np.where(fat[:, None], noise / np.maximum(tail, 0.2), noise)

    wild = np.ones((n, bars))
    ratio = rng.uniform(1.8, 3.5, n)
    stay_quiet, stay_wild = 1 - 1 / rng.uniform(40, 150, n), 1 - 1 / rng.uniform(15, 60, n)
    switches = (law == LAWS.index("switching")) | (rng.random(n) < 0.25) & (law >= 2)
    is_wild = rng.random(n) < 0.3

    half_life = rng.uniform(6, 30, n)
    pull = np.where(law == LAWS.index("reverting"), 1 - 0.5 ** (1 / half_life), 0)
    level_noise = rng.standard_normal((n, bars)) * 0.05
    drift = rng.uniform(0.1, 0.3, n) * rng.choice([-1, 1], n) * (law == LAWS.index("trending"))
    turns = rng.random((n, bars)) < np.where(rng.random(n) < 0.4, 0.0, 1 / 150)[:, None]

    volatility = sigma[:, None] * np.where(law == 0, 0, 1)[:, None] * (profile ** 0.25 - 1) + sigma[:, None]
    out, distances, drifts = np.empty((n, bars)), np.empty((n, bars)), np.empty((n, bars))
    away = rng.standard_normal(n) * sigma / np.sqrt(np.maximum(2 * pull, 1e-3)) * (pull > 0)
    for t in range(bars):
        is_wild = np.where(rng.random(n) < np.where(is_wild, stay_wild, stay_quiet), is_wild, ~is_wild)
        wild[:, t] = np.where(switches & is_wild, ratio, 1)
        volatility[:, t] *= wild[:, t]
        drift = np.where(turns[:, t], -drift, drift)
        out[:, t] = -pull * away + drift * sigma + volatility[:, t] * noise[:, t]
        away += out[:, t] + level_noise[:, t] * sigma
        distances[:, t], drifts[:, t] = away, drift * sigma
    return out, volatility, dict(pull=pull, distance=distances, drift=drifts)


def markets(rng, n, bars, law=None):
    """n series: candles [n, bars, 6] float32 (open high low close volume amount), minutes [n, bars] int64
    since 1970 by the wall clock, law [n] as an index into LAWS, and the hidden causes that steps() names.
    law: one name for all, None for a mixture."""
    which = np.full(n, LAWS.index(law)) if law else rng.choice(len(LAWS), n, p=[0.3, 0.2, 0.25, 0.25])
    minutes, opens, interval, is_session = timestamps(rng, n, bars)
    profile = day_profile(rng, minutes, interval, is_session)
    move, volatility, causes = steps(rng, n, bars, which, profile)

    # Between close and open: hardly anything, except over night.
    gap = rng.standard_normal((n, bars)) * volatility * np.where(rng.random(n) < 0.3, 0.0, 0.05)[:, None]
    over_night = rng.standard_normal((n, bars)) * volatility * rng.uniform(0.5, 3, n)[:, None]
    is_gapless = which <= 0  # a pure walk stays one
    gap = np.where(opens & ~is_gapless[:, None], over_night, gap)
    gap[:, 0] = 0
    close = np.log(10 ** rng.uniform(-4, 5, n))[:, None] + np.cumsum(move + gap, axis=1)
    close -= np.maximum(close.max(axis=1) - np.log(5e5), 0)[:, None]
    opening = close - move

    # Highest and lowest of a Brownian path that is known at both ends.
    variance = volatility ** 2
    reach = lambda: -2 * variance * np.log(rng.uniform(1e-9, 1, (n, bars)))  # noqa: E731
    high = (opening + close + np.sqrt(move ** 2 + reach())) / 2
    low = (opening + close - np.sqrt(move ** 2 + reach())) / 2

    mood = np.zeros((n, bars))
    fresh = rng.standard_normal((n, bars)) * 0.3
    for t in range(1, bars):
        mood[:, t] = 0.6 * mood[:, t - 1] + fresh[:, t]
    excitement = np.sqrt(0.3 + 0.7 * (high - low) / volatility / 1.6)
    volume = 10 ** rng.uniform(0, 6, n)[:, None] * profile * np.exp(mood) * excitement
    volume[rng.random(n) < 1 / 7] = 0
    prices = np.exp(np.stack([opening, high, low, close], axis=2))
    amount = volume * prices.mean(axis=2)
    candles = np.concatenate([prices, volume[..., None], amount[..., None]], axis=2).astype(np.float32)
    # Rounding to binary32 may turn low <= open into low > open by a digit: put it right.
    candles[..., 1] = candles[..., :4].max(axis=2)
    candles[..., 2] = candles[..., :4].min(axis=2)
    return candles, minutes, which, causes
