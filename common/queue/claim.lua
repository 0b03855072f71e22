#!lua flags=allow-oom
-- claim - spend a hint, popped by the caller or here, and more while there is room: queued -> processing.
--
-- KEYS  prefix
-- ARGV  priority hint worker lease_ms busy room room_other suspect_at takes order
--       hint: '' when the caller has popped none and asks for what is waiting.
--       busy: leases the worker holds; room: free slots, at least the one kept for this hint;
--       room_other: of them free for normal and low.
--       takes: 1 or 0 for urgent, normal and low ("110"): hints popped here come only from lists it takes.
--       order: in which those lists are looked at, "213" for normal, urgent, low.
-- Reply {wait_for, more, {id, fence, attempt, crashes, wait_ms, priority, input, group, owner,
--       trace_id, eta_ms}*}
--       wait_for: '' or the priority whose head is a suspect that this worker must run alone.
--       more: 1 or 0 for urgent, normal and low: hints are left that the worker may ask for.
-- Moves :queued:<p> -> :running under a new fence; a task past its deadline -> expired; one
--       without its input -> failed; an id whose hash does not say queued is dropped and counted.
local LOOK = 16                                        -- hints looked at per priority
local worker, lease_ms, suspect_at = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[8])
local busy, room, other = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if not is_priority(ARGV[1]) or worker == '' or not (lease_ms and suspect_at and busy and room and other) then
  return redis.error_reply('ERR claim: bad argument')
end
local takes = {}
for i, p in ipairs(PRIORITIES) do takes[p] = string.sub(ARGV[9] or '', i, i) ~= '0' end
local order = {}
for i = 1, #PRIORITIES do order[i] = PRIORITIES[tonumber(string.sub(ARGV[10] or '', i, i)) or i] or PRIORITIES[i] end
local out, alone = {'', ''}, false

-- A webhook wants to hear of the first start; a group's of its first member's.
local function started(id, k)
  local group = call('HGET', k, 'group')
  local subject, s = group or id, group and M .. ':group:' .. group or k
  local v = call('HMGET', s, 'webhook', 'requeues')
  local key = subject .. '.processing' .. num(v[2])
  if v[1] and call('EXISTS', M .. ':delivery:' .. key) == 0 then
    deliver(key, s, subject, 'processing', v[1])
  end
end

local function take(p, hint)
  local q, id = M .. ':queued:' .. p, hint
  if not call('ZSCORE', q, id) then                    -- stale or duplicate hint: worth the oldest task
    bump('stale_hint')
    id = call('ZRANGE', q, 0, 0)[1]
    if not id then return end
  end
  local k = task(id)
  local v = call('HMGET', k, 'input', 'deadline_ms', 'crashes', 'queued_ms', 'priority', 'state', 'group', 'owner',
                 'trace_id', 'eta_ms')
  if v[5] ~= p or v[6] ~= 'queued' then dequeue(id, p); bump('orphan'); return end
  if not v[1] then return finish(id, 'failed', 'input_corrupt', 'the input is missing') end
  if v[2] and num(v[2]) <= now then
    return finish(id, 'expired', 'deadline_exceeded', 'not started in time')
  end
  local suspect = num(v[3]) >= suspect_at
  if suspect and busy > 0 then                         -- hint back, the worker empties itself first
    call('LPUSH', M .. ':list:' .. p, id)
    out[1], alone = p, true
    return
  end
  dequeue(id, p)
  local fence, attempt = call('HINCRBY', k, 'fence', 1), call('HINCRBY', k, 'attempts', 1)
  out[#out + 1] = {id, fence, attempt, num(v[3]), now - num(v[4]), p, v[1], v[7] or '', v[8] or '',
                   v[9] or '', v[10] or '0'}
  call('DEL', candles(id, fence - 1))                  -- of an attempt that did not end
  call('HSET', k, 'state', 'processing', 'worker', worker, 'started_ms', now, 'ticks', -1, 'step', 0)
  call('ZADD', M .. ':running', now + lease_ms, id)
  publish(id, 'processing')
  if call('HEXISTS', k, 'hook_processing') == 1 then started(id, k) end
  busy, room, alone = busy + 1, room - 1, suspect
  if p ~= 'urgent' then other = other - 1 end
end

if ARGV[2] ~= '' and not paused(ARGV[1]) then take(ARGV[1], ARGV[2]) end
for _, p in ipairs(order) do                           -- free slots: only hints nobody has popped
  for _ = 1, (paused(p) or not takes[p]) and 0 or LOOK do
    if alone or room < 1 or (p ~= 'urgent' and other < 1) then break end
    local hint = call('LPOP', M .. ':list:' .. p)
    if not hint then break end
    take(p, hint)
  end
end
for _, p in ipairs(PRIORITIES) do
  local left = takes[p] and not paused(p) and call('LLEN', M .. ':list:' .. p) > 0
  out[2] = out[2] .. (left and '1' or '0')
end
return out
