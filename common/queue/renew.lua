#!lua flags=allow-oom
-- renew - prolong leases that prove progress: processing stays processing.
--
-- KEYS  prefix
-- ARGV  worker lease_ms max_run_ms, then per lease: id fence ticks step
-- Reply one code per lease, in order: 1 prolonged, 0 fenced, 2 cancel wanted, 3 deadline passed,
--       4 ran longer than max_run_ms, 5 ticks did not grow since the last renewal.
-- Moves nothing; writes the lease end in :running, ticks and step. Every code but 1 leaves the lease
--       to run out. Publishes "<fence> <step>" on :live:<id> when the step has grown.
local lease_ms, max_run_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
if not (lease_ms and max_run_ms) or (#ARGV - 3) % 4 ~= 0 then return redis.error_reply('ERR renew: bad argument') end
local out = {}
for i = 4, #ARGV, 4 do
  local k, code = task(ARGV[i]), 1
  local v = call('HMGET', k, 'state', 'fence', 'worker', 'cancel', 'deadline_ms', 'started_ms', 'ticks', 'step')
  if v[1] ~= 'processing' or v[2] ~= ARGV[i + 1] or v[3] ~= ARGV[1] then
    code = 0
    bump('fenced_renew')
  elseif v[4] then code = 2
  elseif v[5] and num(v[5]) <= now then code = 3
  elseif now - num(v[6]) > max_run_ms then code = 4
  elseif num(ARGV[i + 2]) <= num(v[7]) then code = 5
  else                                                 -- XX: never revives; GT: never shortens
    call('ZADD', M .. ':running', 'XX', 'GT', now + lease_ms, ARGV[i])
    call('HSET', k, 'ticks', ARGV[i + 2], 'step', ARGV[i + 3])
    if num(ARGV[i + 3]) > num(v[8]) then
      call('PUBLISH', M .. ':live:' .. ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 3])
    end
  end
  out[#out + 1] = code
end
return out
