#!lua flags=no-writes,allow-oom
-- presence - the live workers of this model, the one that beat last first.
--
-- KEYS  prefix
-- ARGV  silent_ms limit, then names of fields
-- Reply {now_ms, {value of each field}*}; a missing field is nil.
-- Moves nothing.
local silent_ms, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
if not (silent_ms and limit) or #ARGV < 3 or #ARGV > 50 then
  return redis.error_reply('ERR presence: bad argument')
end
local out = {now}
local ids = call('ZRANGE', M .. ':workers', '+inf', '(' .. (now - silent_ms), 'BYSCORE', 'REV', 'LIMIT', 0, limit)
for _, id in ipairs(ids) do
  local k = M .. ':worker:' .. id
  if call('EXISTS', k) == 1 then out[#out + 1] = call('HMGET', k, unpack(ARGV, 3)) end
end
return out
