-- _lib.lua - what every script has: scripts/embed-lua puts it after the first line of each of them,
-- so a script's SHA-1 covers it. KEYS[1] is the prefix "kq:{<model>}"; a script touches only keys
-- under it. A field that is missing or broken must not stop a sweep, hence num() and the guards.
local call, M, T = redis.call, KEYS[1], redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000)      -- ms; Redis's clock is the only one that decides
local PRIORITIES = {'urgent', 'normal', 'low'}         -- also the order of every loop that pushes hints
local WORKER_SILENT_MS = 60000                         -- a presence this old is forgotten
local RESULT_TTL_MS = 86400000                         -- only for a task whose own result_ttl_ms is broken
local TOMBSTONE_MS = 86400000                          -- a task is `gone`, not unknown, for so long after its life

local function num(v) return tonumber(v) or 0 end

local function whole(text) return string.match(text or '', '^%d+$') ~= nil end

local function is_priority(p) return p == 'urgent' or p == 'normal' or p == 'low' end

local function task(id) return M .. ':task:' .. id end

-- What a run has shown of its forecast. The fence in the name keeps a late worker, and another version
-- of these scripts, out of the next run's.
local function candles(id, fence) return M .. ':candles:' .. id .. '.' .. fence end

local function bump(name, n)                           -- + 0: HINCRBY refuses Lua's "-0"
  call('HINCRBY', M .. ':stats', name, (n or 1) + 0)
end

local function publish(id, state) call('PUBLISH', M .. ':events', id .. ' ' .. state) end

local function paused(p)
  local v = call('HMGET', M .. ':control', 'paused', 'paused:' .. p)
  return v[1] or v[2]
end

local function backlog(id, p, sign)                    -- sums of T, D and bytes per priority: ETA, operators
  local v = call('HMGET', task(id), 'cost_prefill', 'cost_steps')
  bump('queued_prefill:' .. p, sign * num(v[1]))
  bump('queued_steps:' .. p, sign * num(v[2]))
  bump('queued_bytes:' .. p, sign * call('HSTRLEN', task(id), 'input'))
end

-- RPUSH new work, LPUSH recovered work. A hash that cannot be queued is counted and left alone.
local function enqueue(id, push)
  local v = call('HMGET', task(id), 'priority', 'seq', 'deadline_ms')
  if not is_priority(v[1]) or not tonumber(v[2]) then bump('orphan'); return end
  call('HDEL', task(id), 'worker')
  call('HSET', task(id), 'state', 'queued', 'queued_ms', now)
  call('ZADD', M .. ':queued:' .. v[1], v[2], id)
  backlog(id, v[1], 1)
  if tonumber(v[3]) then call('ZADD', M .. ':deadline', v[3], id) end
  call(push, M .. ':list:' .. v[1], id)
end

local function dequeue(id, p)                          -- false when it was not queued
  if not is_priority(p) or call('ZREM', M .. ':queued:' .. p, id) == 0 then return false end
  backlog(id, p, -1)
  call('ZREM', M .. ':deadline', id)
  return true
end

local function park(id, attempts, base_ms)             -- again after base x 2, 4, 8 ... 300, times 0.5 ... 1
  local due = now + math.floor(math.min(2 ^ attempts, 300) * base_ms * (0.5 + math.random() / 2))
  call('HDEL', task(id), 'worker')
  call('HSET', task(id), 'state', 'scheduled')
  call('ZADD', M .. ':later', due, id)
  bump('retried')
  local deadline = call('HGET', task(id), 'deadline_ms')
  if tonumber(deadline) then call('ZADD', M .. ':deadline', deadline, id) end
  publish(id, 'queued')
end

local function life(result_ttl_ms)
  local ttl = num(result_ttl_ms)
  return ttl >= 1 and ttl or RESULT_TTL_MS
end

-- Does the webhook of a task or group want to hear that it has ended so? `events` is its hook_events.
local function hears_of_end(events, state)
  return not events or events == '' or string.find(events, ',' .. state .. ',', 1, true) ~= nil
end

-- The delivery a document shows: {outcome, attempts, last_status, last_error, next_ms}. There is none without a
-- webhook, after an end that it does not want to hear of, and once it is over with and forgotten.
local function hook_view(k, has_ended)
  local key = call('HGET', k, 'delivery')
  if not key then
    if has_ended or call('HEXISTS', k, 'webhook') == 0 then return {} end
    return {'pending', 0, '', '', ''}
  end
  local hook = call('HMGET', M .. ':delivery:' .. key, 'outcome', 'attempts', 'last_status', 'last_error')
  hook[5] = call('ZSCORE', M .. ':webhook', key)
  return hook[1] and hook or {}
end

-- An outbox entry about `id`, whose hash is `k`. It holds what the event says that a requeue would
-- erase from the hash; `previous` leads to the entry of an earlier event, for purge.
local function deliver(key, k, id, state, webhook)
  local v = call('HMGET', k, 'owner', 'requeues', 'result_ttl_ms', 'delivery', 'error_code', 'error')
  call('HSET', M .. ':delivery:' .. key, 'subject', id, 'state', state, 'webhook', webhook,
       'created_ms', now, 'expires_ms', now + life(v[3]), 'owner', v[1] or '', 'requeues', num(v[2]),
       'error_code', v[5] or '', 'error', v[6] or '', 'outcome', 'pending', 'attempts', 0, 'fence', 0,
       'previous', v[4] and v[4] ~= key and v[4] or '')
  call('HSET', k, 'delivery', key)
  call('ZADD', M .. ':webhook', now, key)
end

-- A delivery is over with. One that was not delivered stays, to be replayed, until it is among the
-- oldest of too many.
local HOOK_DEAD_MAX, HOOK_DEAD_MS = 1000, 14 * 86400000
local function close_delivery(key, outcome)
  local d, dead = M .. ':delivery:' .. key, M .. ':webhook:dead'
  call('ZREM', M .. ':webhook', key)
  if call('HGET', d, 'state') == 'ping' then           -- nobody can ask for it
    call('DEL', d)
    return
  end
  call('HSET', d, 'outcome', outcome)
  if outcome == 'delivered' then
    call('PEXPIRE', d, math.max(num(call('HGET', d, 'expires_ms')) - now, 60000))
    return
  end
  call('PEXPIRE', d, HOOK_DEAD_MS)
  call('ZADD', dead, now, key)
  call('ZREMRANGEBYSCORE', dead, '-inf', now - HOOK_DEAD_MS)   -- their hashes have expired, too
  if call('ZCARD', dead) > HOOK_DEAD_MAX then
    call('DEL', M .. ':delivery:' .. call('ZPOPMIN', dead)[1])
  end
end

-- The hash `k` of an ended task or group lives on for life_ms, and for a day more its tombstone tells
-- that it was there. Redis frees both by itself.
local GRAVE = {'state', 'priority', 'seq', 'owner', 'digest', 'created_ms', 'finished_ms', 'result_ttl_ms'}
local function lay_to_rest(k, id, life_ms)
  local v, stone = call('HMGET', k, unpack(GRAVE)), {}
  if v[1] and life_ms + TOMBSTONE_MS > 0 then
    for i, name in ipairs(GRAVE) do
      if v[i] then stone[#stone + 1], stone[#stone + 2] = name, v[i] end
    end
    call('HSET', M .. ':gone:' .. id, unpack(stone))
    call('PEXPIRE', M .. ':gone:' .. id, life_ms + TOMBSTONE_MS)
  end
  if life_ms > 0 then call('PEXPIRE', k, life_ms) else call('DEL', k) end
end

-- A dead letter is one no longer: its input goes, and its document lives out what is left of its life.
local function bury(id)
  local k = task(id)
  call('ZREM', M .. ':dead', id)
  bump('input_bytes', -call('HSTRLEN', k, 'input'))
  call('HDEL', k, 'input')
  local v = call('HMGET', k, 'finished_ms', 'result_ttl_ms', 'group')
  local g = v[3] and M .. ':group:' .. v[3]
  if g and num(call('HGET', g, 'left')) > 0 then return end    -- rests with its group
  local left, with_group = num(v[1]) + life(v[2]) - now, g and call('PTTL', g) or 0
  lay_to_rest(k, id, with_group > left and with_group > 0 and with_group or left)
end

-- The member of a group has ended; the last one ends the group: state, one event, one delivery, and
-- only now the time to live of all members, so that early results outlive slow ones.
local function finish_member(group, state)
  local g = M .. ':group:' .. group
  if call('HEXISTS', g, 'left') == 0 then return end
  call('HINCRBY', g, state, 1)
  if call('HINCRBY', g, 'left', -1) > 0 then return end
  local v = call('HMGET', g, 'failed', 'cancelled', 'expired', 'webhook', 'result_ttl_ms', 'hook_events')
  local worst = v[1] and 'failed' or v[2] and 'cancelled' or v[3] and 'expired' or 'completed'
  call('HSET', g, 'state', worst, 'finished_ms', now)
  for _, member in ipairs(call('LRANGE', g .. ':tasks', 0, -1)) do
    -- not a dead letter, and not one that an operator took out of the group and queued again
    if call('HGET', task(member), 'group') == group and not call('ZSCORE', M .. ':dead', member) then
      lay_to_rest(task(member), member, life(v[5]))
    end
  end
  if v[4] and hears_of_end(v[6], worst) then deliver(group, g, group, worst, v[4]) end
  lay_to_rest(g, group, life(v[5]))
  call('PEXPIRE', g .. ':tasks', life(v[5]))
  publish(group, worst)
end

local function finish(id, state, code, message)        -- the only way into a terminal state
  local k = task(id)
  local v = call('HMGET', k, 'priority', 'group', 'webhook', 'result_ttl_ms', 'fence', 'hook_events')
  if not dequeue(id, v[1]) then
    for _, z in ipairs({':running', ':later', ':deadline'}) do call('ZREM', M .. z, id) end
  end
  call('HSET', k, 'state', state, 'finished_ms', now)
  call('DEL', candles(id, v[5] or 0))                  -- the output says it all, or there is none
  bump(state)
  if is_priority(v[1]) then bump(state .. ':' .. v[1]) end
  if code then call('HSET', k, 'error_code', code, 'error', message)
  else call('HDEL', k, 'error_code', 'error') end      -- an earlier attempt's error is not the task's
  if state == 'failed' then
    call('ZADD', M .. ':dead', now, id)                -- a dead letter keeps its input and has no TTL
  else
    bump('input_bytes', -call('HSTRLEN', k, 'input'))
    call('HDEL', k, 'input')
    if not v[2] then lay_to_rest(k, id, life(v[4])) end -- members rest with their group
  end
  if v[3] and hears_of_end(v[6], state) then deliver(id .. '.' .. (v[5] or 0), k, id, state, v[3]) end
  publish(id, state)
  if v[2] then finish_member(v[2], state) end
end

-- What a document shows of a task: how much of it is left (2 all of it, 1 a dead letter past its life,
-- 0 it is gone), its position, its last delivery, then the fields named by ARGV from `first` on: the
-- first three are priority, seq, state. nil: nobody remembers it.
-- position: 1-based rank within model and priority while queued; of a parked task the rank it would
-- have; else 0.
local function view(id, first)
  local k, left = task(id), 2
  local v = call('HMGET', k, unpack(ARGV, first))
  if not v[3] then                                     -- an ended group has its tombstone from its end on
    if call('EXISTS', M .. ':group:' .. id) == 1 then return nil end
    v, left = call('HMGET', M .. ':gone:' .. id, unpack(ARGV, first)), 0
    if not v[3] then return nil end
  elseif v[3] == 'failed' then                         -- its hash stays while it can be requeued
    local f = call('HMGET', k, 'finished_ms', 'result_ttl_ms', 'group')
    local over = num(f[1]) + life(f[2])
    if now >= over and not (f[3] and call('EXISTS', M .. ':group:' .. f[3]) == 1) then
      left = now < over + TOMBSTONE_MS and 0 or 1
    end
  end
  local position = 0
  if (v[3] == 'queued' or v[3] == 'scheduled') and is_priority(v[1]) and tonumber(v[2]) then
    -- counted by seq rather than ZRANK, which knows nothing of a parked task
    position = call('ZCOUNT', M .. ':queued:' .. v[1], '-inf', '(' .. string.format('%.0f', tonumber(v[2]))) + 1
  end
  local has_ended = v[3] ~= 'queued' and v[3] ~= 'scheduled' and v[3] ~= 'processing'
  return {left, position, hook_view(k, has_ended), unpack(v)}
end
