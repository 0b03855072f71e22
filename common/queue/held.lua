#!lua flags=no-writes,allow-oom
-- held - the leases under one worker id, for a worker whose claim reply was lost.
--
-- KEYS  prefix
-- ARGV  worker max
-- Reply {id, fence}*, at most max of them.
-- Moves nothing.
local LOOK = 10000                                     -- leases looked at: far more than slots exist
local out, max = {}, tonumber(ARGV[2])
if ARGV[1] == '' or not max then return redis.error_reply('ERR held: bad argument') end
for _, id in ipairs(call('ZRANGE', M .. ':running', 0, LOOK - 1)) do
  if #out >= max then break end
  local v = call('HMGET', task(id), 'worker', 'fence')
  if v[1] == ARGV[1] and v[2] then out[#out + 1] = {id, v[2]} end
end
return out
