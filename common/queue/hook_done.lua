#!lua flags=allow-oom
-- hook_done - what became of a delivery.
--
-- KEYS  prefix
-- ARGV  key fence outcome delay_ms last_status last_error
--       outcome: delivered; retry (after delay_ms); release (unsent, the attempt is given back; due
--       again after delay_ms); failed and disabled end it
-- Reply 1, or 0: fenced, another process leased it since or it has ended.
-- Moves in :webhook: leased -> due again; or out of it: delivered, or into :webhook:dead.
local key, fence, outcome, delay_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local ENDS = {delivered = true, failed = true, disabled = true}
if not delay_ms or not (ENDS[outcome] or outcome == 'retry' or outcome == 'release') then
  return redis.error_reply('ERR hook_done: bad argument')
end
if delay_ms < 0 then delay_ms = 0 end
local d = M .. ':delivery:' .. key
local v = call('HMGET', d, 'fence', 'attempts')
if v[1] ~= fence or not call('ZSCORE', M .. ':webhook', key) then bump('fenced_hook'); return 0 end
if outcome == 'release' then
  -- a new fence: who gave it back has no say in it any more
  call('HSET', d, 'attempts', math.max(num(v[2]) - 1, 0), 'fence', num(fence) + 1)
  call('ZADD', M .. ':webhook', now + delay_ms, key)
  return 1
end
call('HSET', d, 'last_status', ARGV[5], 'last_error', ARGV[6])
if outcome == 'retry' then
  call('HSET', d, 'fence', num(fence) + 1)
  call('ZADD', M .. ':webhook', now + delay_ms, key)
else close_delivery(key, outcome) end
bump('hook_' .. outcome)
return 1
