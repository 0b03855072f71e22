#!lua flags=allow-oom
-- cancel - a client wants a task no longer. A group is cancelled by its members, one call each.
--
-- KEYS  prefix
-- ARGV  id
-- Reply 1 ended, 2 asked: it is running and ends at its next step, 3 had ended before, 4 others wait
--       for it, too (one fewer now) and it goes on, 0 unknown.
-- Moves queued and scheduled -> cancelled; of a running task writes `cancel`.
local id, k = ARGV[1], task(ARGV[1])
local v = call('HMGET', k, 'state', 'shares', 'cancel')
local s = v[1]
if s ~= 'queued' and s ~= 'scheduled' and s ~= 'processing' then
  return (s or call('EXISTS', M .. ':gone:' .. id) == 1) and 3 or 0
end
if v[3] then return 2 end
if num(v[2]) > 0 then call('HINCRBY', k, 'shares', -1); return 4 end
if s == 'processing' then call('HSET', k, 'cancel', 1); return 2 end
finish(id, 'cancelled', 'cancelled_by_client', '')
return 1
