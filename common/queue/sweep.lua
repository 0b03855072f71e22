#!lua flags=allow-oom
-- sweep - everything that happens because time passed. Run by every process, throttled here.
--
-- KEYS  prefix
-- ARGV  run_id throttle_ms lease_ms grace_ms limit backoff_ms crash_cap dead_max dead_age_ms
--       max_queue_ms: a task may wait so long, 0: for ever
-- Reply {} throttled, else {due, leases, expired, hints, trimmed, more}; more = 1: a step filled its
--       limit, run again at once.
-- Moves :later -> :queued:<p>; :running -> :queued:<p> (1st lost lease), :later (2nd), failed (3rd, or
--       no attempts left), cancelled, expired; queued and :later -> expired; repairs :list:<p> from
--       :queued:<p>; trims :dead and silent workers.
local limit, n = tonumber(ARGV[5]), {0, 0, 0, 0, 0, 0}
for i = 2, 10 do
  if not whole(ARGV[i]) then return redis.error_reply('ERR sweep: bad argument') end
end
if limit < 1 or limit > 1000 or tonumber(ARGV[2]) < 1 then return redis.error_reply('ERR sweep: bad limit') end
if not call('SET', M .. ':sweep', 1, 'NX', 'PX', ARGV[2]) then return {} end

local function due(key, upto)
  local ids = call('ZRANGE', M .. key, '-inf', upto, 'BYSCORE', 'LIMIT', 0, limit)
  if #ids == limit then n[6] = 1 end
  return ids
end

-- Step 1. After a restart of Redis no lease could be renewed for a while: hold step 3 for one lease.
local boot = call('HMGET', M .. ':boot', 'run_id', 'hold_until_ms')
if boot[1] ~= ARGV[1] then
  boot[2] = now + tonumber(ARGV[3])
  call('HSET', M .. ':boot', 'run_id', ARGV[1], 'hold_until_ms', boot[2])
end

-- Step 2. Parked tasks whose time has come.
for _, id in ipairs(due(':later', now)) do
  call('ZREM', M .. ':later', id)
  n[1] = n[1] + 1
  enqueue(id, 'RPUSH')
end

-- Step 3. Leases that ran out.
local function lost(id)
  local k = task(id)
  local v = call('HMGET', k, 'seq', 'attempts', 'max_attempts', 'cancel', 'deadline_ms', 'crashes')
  call('ZREM', M .. ':running', id)
  if not v[1] then bump('orphan'); return end
  local crashes = num(v[6]) + 1
  local poison = crashes >= tonumber(ARGV[7])
  call('HSET', k, 'crashes', crashes)
  bump('recovered_lease')
  if v[4] then finish(id, 'cancelled', 'cancelled_by_client', '')
  elseif v[5] and num(v[5]) <= now then finish(id, 'expired', 'deadline_exceeded', 'worker lost')
  elseif poison or num(v[2]) >= num(v[3]) then
    if poison then bump('poison') end
    finish(id, 'failed', 'worker_lost', 'lease lost ' .. crashes .. ' times')
  elseif crashes == 1 then
    enqueue(id, 'LPUSH')
    publish(id, 'queued')
  else park(id, num(v[2]), tonumber(ARGV[6])) end
end
if now >= num(boot[2]) then
  for _, id in ipairs(due(':running', now)) do
    n[2] = n[2] + 1
    lost(id)
  end
end

-- Step 4. Deadlines of what waits; a running task's deadline is seen by its worker.
for _, id in ipairs(due(':deadline', now)) do
  local state = call('HGET', task(id), 'state')
  call('ZREM', M .. ':deadline', id)
  if state == 'queued' or state == 'scheduled' then
    n[3] = n[3] + 1
    finish(id, 'expired', 'deadline_exceeded', 'not started in time')
  end
end

-- Waiting for too long. A queue is in the order of submission (requeue gives a new seq), so its head is
-- what has waited longest.
local max_queue_ms = tonumber(ARGV[10])
local function wait_too_long(p)
  local id = call('ZRANGE', M .. ':queued:' .. p, 0, 0)[1]
  if not id then return false end
  local v = call('HMGET', task(id), 'state', 'created_ms', 'requeued_ms')
  if v[1] ~= 'queued' then dequeue(id, p); bump('orphan'); return true end
  if num(v[3] or v[2]) + max_queue_ms > now then return false end
  finish(id, 'expired', 'queue_timeout', 'not started within ' .. max_queue_ms / 1000 .. ' seconds')
  n[3] = n[3] + 1
  return true
end
for _, p in ipairs(PRIORITIES) do
  for i = 1, max_queue_ms > 0 and limit or 0 do
    if not wait_too_long(p) then break end
    if i == limit then n[6] = 1 end
  end
end

-- Step 5. Hints that somebody popped and lost. A pop in flight hides one for a moment, so a deficit
-- must last for the grace; a surplus costs one empty claim each and is trimmed only when large.
local SURPLUS = 1000
for _, p in ipairs(PRIORITIES) do
  local q, l = M .. ':queued:' .. p, M .. ':list:' .. p
  local missing, since = call('ZCARD', q) - call('LLEN', l), call('HGET', M .. ':deficit', p)
  if missing <= 0 or paused(p) then
    if since then call('HDEL', M .. ':deficit', p) end
    if missing < -SURPLUS then call('LPOP', l, math.min(-missing, limit)) end
  elseif not since then call('HSET', M .. ':deficit', p, now)
  elseif now - num(since) >= tonumber(ARGV[4]) then
    local ids = call('ZRANGE', q, 0, math.min(missing, limit) - 1)
    for _, id in ipairs(ids) do call('RPUSH', l, id) end
    call('HDEL', M .. ':deficit', p)
    n[4] = n[4] + #ids
    bump('recovered_pop', #ids)
  end
end

-- Step 6. Dead letters that are too old or too many, and workers that fell silent.
local old = due(':dead', now - tonumber(ARGV[9]))
local over = call('ZCARD', M .. ':dead') - tonumber(ARGV[8])
if over > #old then
  old = call('ZRANGE', M .. ':dead', 0, math.min(over, limit) - 1)
  if over > limit then n[6] = 1 end
end
for _, id in ipairs(old) do
  bury(id)
  n[5] = n[5] + 1
end
call('ZREMRANGEBYSCORE', M .. ':workers', '-inf', now - WORKER_SILENT_MS)
if n[6] == 1 then call('DEL', M .. ':sweep') end
return n
