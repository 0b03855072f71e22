#!lua flags=no-writes,allow-oom
-- load - how much there is to do, and who does it: what an estimate needs, and what operators see.
--
-- KEYS  prefix
-- ARGV  silent_ms
-- Reply {now_ms, prefill_seconds, step_seconds, {n_live, slots, busy, n_quiet},
--       {n_running, prefill tokens, decode steps still to be done}, {later, dead, webhooks},
--       {depth, prefill tokens, decode steps, bytes, age_ms of the oldest, paused, draining} per priority}
--       Averages are texts, '' before the first measurement. Quiet workers count in n_quiet alone.
-- Moves nothing.
local LOOK = 1000                                      -- running tasks and workers looked at
local silent_ms = tonumber(ARGV[1])
if not silent_ms then return redis.error_reply('ERR load: bad argument') end
local speed = call('HMGET', M .. ':speed', 'prefill_seconds', 'step_seconds')

local live, slots, busy, quiet = 0, 0, 0, 0
for _, id in ipairs(call('ZRANGE', M .. ':workers', '+inf', '(' .. (now - silent_ms), 'BYSCORE', 'REV', 'LIMIT', 0,
                         LOOK)) do
  local v = call('HMGET', M .. ':worker:' .. id, 'slots', 'busy', 'quiet')
  if v[3] then quiet = quiet + 1
  elseif v[1] then live, slots, busy = live + 1, slots + num(v[1]), busy + num(v[2]) end
end

-- Looked up rather than summed up at each claim and end: there are few, and their steps move.
local running, prefill, steps = call('ZRANGE', M .. ':running', 0, LOOK - 1), 0, 0
for _, id in ipairs(running) do
  local v = call('HMGET', task(id), 'cost_prefill', 'cost_steps', 'step', 'horizon')
  local rest = num(v[4]) > 0 and math.max(1 - num(v[3]) / num(v[4]), 0) or 1
  prefill, steps = prefill + num(v[1]) * rest, steps + num(v[2]) * rest
end

local out = {now, speed[1] or '', speed[2] or '', {live, slots, busy, quiet},
             {#running, math.floor(prefill), math.floor(steps)},
             {call('ZCARD', M .. ':later'), call('ZCARD', M .. ':dead'), call('ZCARD', M .. ':webhook')}}
for _, p in ipairs(PRIORITIES) do
  local sums = call('HMGET', M .. ':stats', 'queued_prefill:' .. p, 'queued_steps:' .. p, 'queued_bytes:' .. p)
  local first = call('ZRANGE', M .. ':queued:' .. p, 0, 0)[1]
  local v = first and call('HMGET', task(first), 'created_ms', 'requeued_ms') or {}
  local since = num(v[2] or v[1])
  local c = call('HMGET', M .. ':control', 'draining', 'draining:' .. p)
  out[#out + 1] = {call('ZCARD', M .. ':queued:' .. p), math.max(num(sums[1]), 0), math.max(num(sums[2]), 0),
                   math.max(num(sums[3]), 0), since > 0 and math.max(now - since, 0) or 0, paused(p) and 1 or 0,
                   (c[1] or c[2]) and 1 or 0}
end
return out
