#!lua flags=no-writes,allow-oom
-- read - one task as a document shows it, at one moment.
--
-- KEYS  prefix
-- ARGV  id, then names of fields; the first is priority, the second seq, the third state
-- Reply {now_ms, position, value of each field...}, or {now_ms} when there is no such task.
--       position: 1-based rank within model and priority while queued; of a parked task the rank it
--       would have; else 0.
-- Moves nothing.
if #ARGV < 4 or #ARGV > 50 then return redis.error_reply('ERR read: bad argument') end
local v = call('HMGET', task(ARGV[1]), unpack(ARGV, 2))
local p, seq, state = v[1], tonumber(v[2]), v[3]
if not state then return {now} end
local position = 0
if (state == 'queued' or state == 'scheduled') and is_priority(p) and seq then
  -- counted by seq rather than ZRANK, which knows nothing of a parked task
  position = call('ZCOUNT', M .. ':queued:' .. p, '-inf', '(' .. string.format('%.0f', seq)) + 1
end
return {now, position, unpack(v)}
