#!lua flags=allow-oom
-- rate - count one more submit in the fixed window of its owner.
--
-- KEYS  the counter, "kq:rate:<owner>": of no model, in a slot of its own
-- ARGV  window_ms
-- Reply {count with this one, ms until the window ends}
-- A window begins with its first submit. What is no count, or lives longer than a window, is begun anew.
-- Moves nothing.
if not whole(ARGV[1]) or num(ARGV[1]) < 1 then return redis.error_reply('ERR rate: bad argument') end
local window, n = num(ARGV[1]), redis.pcall('INCR', M)
local left = type(n) == 'number' and call('PTTL', M) or -1
if left > 0 and left <= window and n > 0 then return {n, left} end
call('SET', M, 1, 'PX', window)
return {1, window}
