#!lua flags=allow-oom
-- requeue - an operator runs a dead letter again: the one way out of an end.
--
-- KEYS  prefix
-- ARGV  id
-- Reply 1, or 0 when it is no dead letter.
-- Moves :dead -> :queued:<p>, behind what waits already. Attempts and crashes begin anew; the fence
--       grows as at a claim, so what an earlier run or delivery was named stays its own. It leaves
--       its group, loses its deadline, and the ids of its further events count the requeues.
local id, k = ARGV[1], task(ARGV[1])
local v = call('HMGET', k, 'state', 'priority', 'input')
if v[1] ~= 'failed' or not v[3] or not is_priority(v[2]) or not call('ZSCORE', M .. ':dead', id) then return 0 end
call('ZREM', M .. ':dead', id)
call('PERSIST', k)
call('DEL', M .. ':gone:' .. id)
call('HDEL', k, 'group', 'group_index', 'error_code', 'error', 'finished_ms', 'started_ms', 'deadline_ms',
     'cancel', 'shares', 'step', 'output')
call('HSET', k, 'attempts', 0, 'crashes', 0, 'seq', call('INCR', M .. ':seq'), 'requeued_ms', now)
call('HINCRBY', k, 'fence', 1)
call('HINCRBY', k, 'requeues', 1)
bump('requeued')
enqueue(id, 'RPUSH')
publish(id, 'queued')
return 1
