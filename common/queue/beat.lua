#!lua flags=allow-oom
-- beat - a worker says that it lives and what it is, and hears what operators want of it.
--
-- KEYS  prefix
-- ARGV  worker, then (field value)*
-- Reply {paused urgent, paused normal, paused low, quiet, weights}; flags are 0 or 1, weights '' or "28,3,1".
-- Moves nothing; writes :workers and :worker:<worker>, which outlives the last beat by a minute, and
--       :speed from the first worker's warm-up.
if ARGV[1] == '' or #ARGV < 3 or #ARGV % 2 ~= 1 or #ARGV > 99 then
  return redis.error_reply('ERR beat: bad argument')
end
local k = M .. ':worker:' .. ARGV[1]
call('HSET', k, unpack(ARGV, 2))
call('PEXPIRE', k, WORKER_SILENT_MS)
call('ZADD', M .. ':workers', now, ARGV[1])
local out = {}
for _, p in ipairs(PRIORITIES) do out[#out + 1] = paused(p) and 1 or 0 end
out[#out + 1] = call('HEXISTS', k, 'quiet')
out[#out + 1] = call('HGET', M .. ':control', 'weights') or ''
for _, name in ipairs({'prefill_seconds', 'step_seconds'}) do
  local v = call('HGET', k, name)
  if num(v) > 0 and num(v) < 1e6 then call('HSETNX', M .. ':speed', name, v) end
end
return out
