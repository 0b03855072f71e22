#!lua flags=no-writes,allow-oom
-- watch - what an event stream shows of one task, at one moment: its document and the candles so far.
--
-- KEYS  prefix
-- ARGV  id fence first with_input, then names of fields as for read
--       fence, first: the run whose first `first` candles are known already
--       with_input: 1 to get the input, too, as long as it is there
-- Reply {now_ms, fence, first, rows, input, left, position, {outcome, attempts, last_status, last_error, next_ms},
--       value of each field...}, or {now_ms} when there is no such task; see view().
--       fence: of the last claim, 0 before the first. rows: candles of that run, 24 bytes each, from
--       `first` on, which is 0 for another run than the one asked for; '' unless it is processing.
-- Moves nothing.
local CANDLE = 24
if #ARGV < 7 or #ARGV > 50 or not whole(ARGV[3]) then return redis.error_reply('ERR watch: bad argument') end
local v = view(ARGV[1], 5)
if not v then return {now} end
local f = call('HMGET', task(ARGV[1]), 'fence', 'state', ARGV[4] == '1' and 'input' or 'fence')
local fence, rows = f[1] or '0', ''
local first = fence == ARGV[2] and tonumber(ARGV[3]) or 0
if f[2] == 'processing' then rows = call('GETRANGE', candles(ARGV[1], fence), first * CANDLE, -1) end
return {now, fence, first, rows, ARGV[4] == '1' and f[3] or '', unpack(v)}
