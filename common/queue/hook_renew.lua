#!lua flags=allow-oom
-- hook_renew - prolong the leases of deliveries that wait or are on their way.
--
-- KEYS  prefix
-- ARGV  lease_ms, then per lease: key fence
-- Reply {code*} in the order given: 1 prolonged, 0 fenced: another process leased it since or it has ended.
-- Moves nothing; scores in :webhook grow.
local lease_ms = tonumber(ARGV[1])
if not lease_ms or lease_ms < 1 or #ARGV % 2 == 0 or #ARGV > 1001 then
  return redis.error_reply('ERR hook_renew: bad argument')
end
local out = {}
for i = 2, #ARGV, 2 do
  local key = ARGV[i]
  local holds = call('HGET', M .. ':delivery:' .. key, 'fence') == ARGV[i + 1]
  if holds and call('ZSCORE', M .. ':webhook', key) then
    call('ZADD', M .. ':webhook', now + lease_ms, key)
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
return out
