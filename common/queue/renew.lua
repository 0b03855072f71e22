#!lua flags=allow-oom
-- renew - prolong leases that prove progress: processing stays processing.
--
-- KEYS  prefix
-- ARGV  worker lease_ms max_run_ms, then per lease: id fence ticks step first rows
--       rows: candles of 24 bytes each that follow the first `first` ones, as many as may fit one
--       forecast; '' none are new
-- Reply one code per lease, in order: 1 prolonged, 0 fenced, 2 cancel wanted, 3 deadline passed,
--       4 ran longer than max_run_ms, 5 ticks did not grow since the last renewal, 6 prolonged, but the
--       candles before `first` are not there any more: send all of them.
-- Moves nothing; writes the lease end in :running, ticks and step, and candles in :candles:<id>.<fence>.
--       Every code but 1 and 6 leaves the lease to run out. Publishes "<fence> <step>" on :live:<id> when
--       the step has grown, "<fence> <step> <first> <rows>" when there are candles.
local PARTS, CANDLE, CANDLES_MAX = 6, 24, 512
local lease_ms, max_run_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local good = lease_ms and max_run_ms and (#ARGV - 3) % PARTS == 0
for i = 4, good and #ARGV or 0, PARTS do
  local n = #ARGV[i + 5] / CANDLE
  good = good and whole(ARGV[i + 4]) and n % 1 == 0 and tonumber(ARGV[i + 4]) + n <= CANDLES_MAX
end
if not good then return redis.error_reply('ERR renew: bad argument') end

-- What is repeated overwrites itself; false when there would be a hole.
local function keep(id, fence, first, rows)
  local key = candles(id, fence)
  if call('STRLEN', key) < first * CANDLE then return false end
  call('SETRANGE', key, first * CANDLE, rows)
  call('PEXPIRE', key, math.max(max_run_ms + lease_ms, 1))
  return true
end

local out = {}
for i = 4, #ARGV, PARTS do
  local id, fence, step, first, rows = ARGV[i], ARGV[i + 1], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local k, code = task(id), 1
  local v = call('HMGET', k, 'state', 'fence', 'worker', 'cancel', 'deadline_ms', 'started_ms', 'ticks', 'step')
  if v[1] ~= 'processing' or v[2] ~= fence or v[3] ~= ARGV[1] then
    code = 0
    bump('fenced_renew')
  elseif v[4] then code = 2
  elseif v[5] and num(v[5]) <= now then code = 3
  elseif now - num(v[6]) > max_run_ms then code = 4
  elseif num(ARGV[i + 2]) <= num(v[7]) then code = 5
  else                                                 -- XX: never revives; GT: never shortens
    call('ZADD', M .. ':running', 'XX', 'GT', now + lease_ms, id)
    call('HSET', k, 'ticks', ARGV[i + 2], 'step', step)
    if rows ~= '' and not keep(id, fence, tonumber(first), rows) then code = 6 end
    if rows ~= '' and code == 1 then
      call('PUBLISH', M .. ':live:' .. id, fence .. ' ' .. step .. ' ' .. first .. ' ' .. rows)
    elseif num(step) > num(v[8]) then
      call('PUBLISH', M .. ':live:' .. id, fence .. ' ' .. step)
    end
  end
  out[#out + 1] = code
end
return out
