#!lua flags=no-writes,allow-oom
-- workers - every worker that was heard of in the last minute, the one that beat last first.
--
-- KEYS  prefix
-- ARGV  limit, then names of fields
-- Reply {now_ms, {worker, beat_ms, value of each field...}*}
-- Moves nothing.
local limit = tonumber(ARGV[1])
if not limit or #ARGV < 2 or #ARGV > 50 then return redis.error_reply('ERR workers: bad argument') end
local out = {now}
local list = call('ZRANGE', M .. ':workers', '+inf', '(' .. (now - WORKER_SILENT_MS), 'BYSCORE', 'REV', 'LIMIT', 0,
                  limit, 'WITHSCORES')
for i = 1, #list, 2 do
  local k = M .. ':worker:' .. list[i]
  if call('EXISTS', k) == 1 then
    out[#out + 1] = {list[i], list[i + 1], unpack(call('HMGET', k, unpack(ARGV, 2)))}
  end
end
return out
