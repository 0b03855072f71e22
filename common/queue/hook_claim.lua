#!lua flags=allow-oom
-- hook_claim - lease deliveries that are due. The attempt is counted now, so a delivery that kills its
-- process is not tried for ever. When more are due than may be leased, half of the places are for those that
-- were due first and half for those that fell due last: what has just happened does not wait until a
-- backlog that a dead receiver has left has been looked through.
--
-- KEYS  prefix
-- ARGV  lease_ms limit
-- Reply {now_ms, {key, fence, attempts, subject, state, owner, requeues, created_ms, expires_ms,
--       error_code, error, webhook, is_group}*}
-- Moves in :webhook: due -> leased; what is past its life -> :webhook:dead.
local lease_ms, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
if not (lease_ms and limit) or limit < 1 or limit > 1000 then
  return redis.error_reply('ERR hook_claim: bad argument')
end
local due = call('ZRANGE', M .. ':webhook', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
if #due == limit then
  local newest = call('ZRANGE', M .. ':webhook', now, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, math.floor(limit / 2))
  for i, key in ipairs(newest) do due[limit + 1 - i] = key end
end
local out = {now}
for _, key in ipairs(due) do
  local d = M .. ':delivery:' .. key
  local v = call('HMGET', d, 'subject', 'state', 'owner', 'requeues', 'created_ms', 'expires_ms', 'error_code',
                 'error', 'webhook')
  if not v[1] or not v[9] then
    call('ZREM', M .. ':webhook', key)
    bump('orphan')
  elseif v[6] and num(v[6]) <= now then
    call('HSET', d, 'last_error', 'expired')
    close_delivery(key, 'failed')
  else
    local fence, attempts = call('HINCRBY', d, 'fence', 1), call('HINCRBY', d, 'attempts', 1)
    call('ZADD', M .. ':webhook', now + lease_ms, key)
    out[#out + 1] = {key, fence, attempts, v[1], v[2] or '', v[3] or '', v[4] or '0', v[5] or '0', v[6] or '0',
                     v[7] or '', v[8] or '', v[9], call('EXISTS', M .. ':group:' .. v[1])}
  end
end
return out
