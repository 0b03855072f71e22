#!lua flags=no-writes,allow-oom
-- group - a group and all its members, as documents show them, at one moment.
--
-- KEYS  prefix
-- ARGV  id, then names of fields; the first is priority, the second seq, the third state
-- Reply {now_ms, left, {outcome, attempts, last_status, last_error, next_ms}, {value of each field of the group},
--       {id, left, position, {delivery}, value of each field...}*}, or {now_ms} when there is none.
--       left: 2 all of it, 0 it is gone and has no members any more. A member nobody remembers is {id}.
-- Moves nothing.
local MEMBERS = 1000                                   -- looked at; submit has a smaller limit
if #ARGV < 4 or #ARGV > 50 then return redis.error_reply('ERR group: bad argument') end
local g = M .. ':group:' .. ARGV[1]
local v, left = call('HMGET', g, unpack(ARGV, 2)), 2
if not v[3] or call('HEXISTS', g, 'total') == 0 then
  if call('EXISTS', task(ARGV[1])) == 1 then return {now} end    -- a task, whose tombstone is not a group's
  v, left = call('HMGET', M .. ':gone:' .. ARGV[1], unpack(ARGV, 2)), 0
  if not v[3] then return {now} end
end
local out = {now, left, hook_view(g, v[3] ~= 'queued'), v}
for _, id in ipairs(call('LRANGE', g .. ':tasks', 0, MEMBERS - 1)) do
  local member = view(id, 2)
  out[#out + 1] = member and {id, unpack(member)} or {id}
end
return out
