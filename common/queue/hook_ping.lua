#!lua
-- hook_ping - an event about nothing, to try a receiver.
--
-- KEYS  prefix
-- ARGV  key owner webhook life_ms
-- Reply 1, also when it is there already. No flags: Redis refuses the script when memory is full.
-- Moves a new delivery into :webhook; its state is `ping`.
local key, life_ms = ARGV[1], tonumber(ARGV[4])
if key == '' or ARGV[3] == '' or not life_ms then return redis.error_reply('ERR hook_ping: bad argument') end
local d = M .. ':delivery:' .. key
if call('EXISTS', d) == 1 then return 1 end
call('HSET', d, 'subject', key, 'state', 'ping', 'webhook', ARGV[3], 'created_ms', now, 'expires_ms',
     now + life_ms, 'owner', ARGV[2], 'requeues', 0, 'outcome', 'pending', 'attempts', 0, 'fence', 0)
call('ZADD', M .. ':webhook', now, key)
return 1
