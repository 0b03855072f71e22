#!lua flags=allow-oom
-- hook_replay - send the last event of a task or group again, whatever became of it.
--
-- KEYS  prefix
-- ARGV  id
-- Reply 1 due now, 2 it has no webhook or no event yet, 0 unknown.
-- Moves :webhook:dead, or what was delivered -> :webhook, with its attempts to begin anew.
local id = ARGV[1]
local k = task(id)
if call('EXISTS', k) == 0 then k = M .. ':group:' .. id end
if call('EXISTS', k) == 0 then return 0 end
local key = call('HGET', k, 'delivery')
local d = key and M .. ':delivery:' .. key
if not key or call('HEXISTS', d, 'subject') == 0 then return 2 end
call('PERSIST', d)
call('HSET', d, 'outcome', 'pending', 'attempts', 0)
call('HINCRBY', d, 'fence', 1)
call('ZREM', M .. ':webhook:dead', key)
call('ZADD', M .. ':webhook', now, key)
return 1
