#!lua flags=allow-oom
-- move - a waiting task to another priority.
--
-- KEYS  prefix
-- ARGV  id priority
-- Reply 1, or 0 when it does not wait.
-- Moves :queued:<p> -> :queued:<priority>, where it keeps the place its seq gives it; of a parked
--       task writes the priority it will come back with. Its old hint becomes a surplus one.
local id, k, to = ARGV[1], task(ARGV[1]), ARGV[2]
if not is_priority(to) then return redis.error_reply('ERR move: bad argument') end
local v = call('HMGET', k, 'state', 'priority', 'queued_ms')
if v[1] == 'scheduled' then call('HSET', k, 'priority', to); return 1 end
if v[1] ~= 'queued' then return 0 end
if v[2] == to then return 1 end
if not dequeue(id, v[2]) then return 0 end
call('HSET', k, 'priority', to)
enqueue(id, 'RPUSH')
call('HSET', k, 'queued_ms', v[3] or now)              -- it has waited since then
return 1
