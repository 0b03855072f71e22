#!lua flags=allow-oom
-- quiet - a worker is to take nothing new, or to take work again; it hears of it at its next beat.
--
-- KEYS  prefix
-- ARGV  worker is_quiet
-- Reply 1, or 0 when there is no such worker.
-- Moves nothing; writes `quiet` of :worker:<worker>.
local k = M .. ':worker:' .. ARGV[1]
if call('EXISTS', k) == 0 then return 0 end
if ARGV[2] == '1' then call('HSET', k, 'quiet', 1) else call('HDEL', k, 'quiet') end
return 1
