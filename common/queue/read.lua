#!lua flags=no-writes,allow-oom
-- read - one task as a document shows it, at one moment.
--
-- KEYS  prefix
-- ARGV  id, then names of fields; the first is priority, the second seq, the third state
-- Reply {now_ms, left, position, {outcome, attempts, last_status, last_error, next_ms}, value of each field...},
--       or {now_ms} when there is no such task; see view().
-- Moves nothing.
if #ARGV < 4 or #ARGV > 50 then return redis.error_reply('ERR read: bad argument') end
local v = view(ARGV[1], 2)
return v and {now, unpack(v)} or {now}
