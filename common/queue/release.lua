#!lua flags=allow-oom
-- release - give a task back unrun, at shutdown or after a claim reply that was lost: processing -> queued.
--
-- KEYS  prefix
-- ARGV  id fence worker
-- Reply 1 back at the head of its queue, 3 cancelled, 4 expired, 0 fenced.
-- Moves :running -> :queued:<p>, in its old place; the attempt is given back, the fence is not.
local id, k = ARGV[1], task(ARGV[1])
local v = call('HMGET', k, 'state', 'fence', 'worker', 'cancel', 'deadline_ms', 'attempts')
if v[1] ~= 'processing' or v[2] ~= ARGV[2] or v[3] ~= ARGV[3] then bump('fenced'); return 0 end
if v[4] then finish(id, 'cancelled', 'cancelled_by_client', ''); return 3 end
if v[5] and num(v[5]) <= now then finish(id, 'expired', 'deadline_exceeded', 'not finished in time'); return 4 end
call('ZREM', M .. ':running', id)
if num(v[6]) > 0 then call('HINCRBY', k, 'attempts', -1) end
enqueue(id, 'LPUSH')
publish(id, 'queued')
return 1
