-- _lib.lua - what every script has: scripts/embed-lua puts it after the first line of each of them,
-- so a script's SHA-1 covers it. KEYS[1] is the prefix "kq:{<model>}"; a script touches only keys
-- under it. A field that is missing or broken must not stop a sweep, hence num() and the guards.
local call, M, T = redis.call, KEYS[1], redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000)      -- ms; Redis's clock is the only one that decides
local PRIORITIES = {'urgent', 'normal', 'low'}         -- also the order of every loop that pushes hints
local WORKER_SILENT_MS = 60000                         -- a presence this old is forgotten
local RESULT_TTL_MS = 86400000                         -- only for a task whose own result_ttl_ms is broken

local function num(v) return tonumber(v) or 0 end

local function whole(text) return string.match(text or '', '^%d+$') ~= nil end

local function is_priority(p) return p == 'urgent' or p == 'normal' or p == 'low' end

local function task(id) return M .. ':task:' .. id end

local function bump(name, n)                           -- + 0: HINCRBY refuses Lua's "-0"
  call('HINCRBY', M .. ':stats', name, (n or 1) + 0)
end

local function publish(id, state) call('PUBLISH', M .. ':events', id .. ' ' .. state) end

local function paused(p)
  local v = call('HMGET', M .. ':control', 'paused', 'paused:' .. p)
  return v[1] or v[2]
end

local function backlog(id, p, sign)                    -- sums of T and D per priority, for the ETA
  local v = call('HMGET', task(id), 'cost_prefill', 'cost_steps')
  bump('queued_prefill:' .. p, sign * num(v[1]))
  bump('queued_steps:' .. p, sign * num(v[2]))
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
end

local function deliver(key, id, state, webhook)        -- an outbox entry
  call('HSET', M .. ':delivery:' .. key, 'subject', id, 'state', state, 'webhook', webhook,
       'created_ms', now, 'attempts', 0, 'fence', 0)
  call('ZADD', M .. ':webhook', now, key)
end

local function expire(key, ttl_ms)
  local ttl = num(ttl_ms)
  call('PEXPIRE', key, ttl >= 1 and ttl or RESULT_TTL_MS)
end

-- The member of a group has ended; the last one ends the group: state, one event, one delivery, and
-- only now the time to live of all members, so that early results outlive slow ones.
local function finish_member(group, state)
  local g = M .. ':group:' .. group
  if call('HEXISTS', g, 'left') == 0 then return end
  call('HINCRBY', g, state, 1)
  if call('HINCRBY', g, 'left', -1) > 0 then return end
  local v = call('HMGET', g, 'failed', 'cancelled', 'expired', 'webhook', 'result_ttl_ms')
  local worst = v[1] and 'failed' or v[2] and 'cancelled' or v[3] and 'expired' or 'completed'
  call('HSET', g, 'state', worst, 'finished_ms', now)
  for _, member in ipairs(call('LRANGE', g .. ':tasks', 0, -1)) do
    if call('HGET', task(member), 'state') ~= 'failed' then expire(task(member), v[5]) end
  end
  expire(g, v[5])
  expire(g .. ':tasks', v[5])
  if v[4] then deliver(group, group, worst, v[4]) end
  publish(group, worst)
end

local function finish(id, state, code, message)        -- the only way into a terminal state
  local k = task(id)
  local v = call('HMGET', k, 'priority', 'group', 'webhook', 'result_ttl_ms', 'fence')
  if not dequeue(id, v[1]) then
    for _, z in ipairs({':running', ':later', ':deadline'}) do call('ZREM', M .. z, id) end
  end
  call('HSET', k, 'state', state, 'finished_ms', now)
  bump(state)
  if code then call('HSET', k, 'error_code', code, 'error', message)
  else call('HDEL', k, 'error_code', 'error') end      -- an earlier attempt's error is not the task's
  if state == 'failed' then
    call('ZADD', M .. ':dead', now, id)                -- a dead letter keeps its input and has no TTL
  else
    bump('input_bytes', -call('HSTRLEN', k, 'input'))
    call('HDEL', k, 'input')
    if not v[2] then expire(k, v[4]) end               -- members expire with their group
  end
  if v[3] then deliver(id .. '.' .. (v[5] or 0), id, state, v[3]) end
  publish(id, state)
  if v[2] then finish_member(v[2], state) end
end
