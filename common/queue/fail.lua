#!lua flags=allow-oom
-- fail - a run ended without an output: processing -> scheduled (tried again later) or an end.
--
-- KEYS  prefix
-- ARGV  id fence worker code message retryable backoff_ms
--       retryable: '1' or '0'
-- Reply 1 parked, 2 failed, 3 cancelled, 4 expired, 0 fenced.
-- Moves :running -> :later, or failed (into :dead), cancelled, expired.
local id, k, backoff_ms = ARGV[1], task(ARGV[1]), tonumber(ARGV[7])
if not backoff_ms then return redis.error_reply('ERR fail: bad argument') end
local v = call('HMGET', k, 'state', 'fence', 'worker', 'cancel', 'deadline_ms', 'attempts', 'max_attempts')
if v[1] ~= 'processing' or v[2] ~= ARGV[2] or v[3] ~= ARGV[3] then bump('fenced'); return 0 end
if v[4] then finish(id, 'cancelled', 'cancelled_by_client', ''); return 3 end
if v[5] and num(v[5]) <= now then finish(id, 'expired', 'deadline_exceeded', ARGV[5]); return 4 end
if ARGV[6] ~= '1' or num(v[6]) >= num(v[7]) then finish(id, 'failed', ARGV[4], ARGV[5]); return 2 end
call('ZREM', M .. ':running', id)
call('HSET', k, 'error_code', ARGV[4], 'error', ARGV[5])
park(id, num(v[6]), backoff_ms)
return 1
