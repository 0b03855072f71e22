#!lua flags=allow-oom
-- audit - a slice of all tasks: is each in the index its state says, and in no other? A slice a minute
-- finds what no script of ours can have done: keys removed by hand, half a restored backup.
--
-- KEYS  prefix
-- ARGV  cursor count lease_ms
--       cursor: '0', then what the last call answered
-- Reply {cursor, fixed}; '0': all were looked at.
-- Moves nothing that is where it belongs. Else the hash is right and the index is mended; a running
--       task without a lease gets a new one, for its worker to renew or for sweep to take.
local cursor, count, lease_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not (whole(cursor) and count and lease_ms) or count < 1 or count > 1000 then
  return redis.error_reply('ERR audit: bad argument')
end
local fixed = 0
local function fix() fixed = fixed + 1; bump('audit_fixed') end

local function drop(key, id)                           -- it must not be there
  if call('ZREM', M .. key, id) == 1 then fix() end
end

local function drop_queued(id, but)
  for _, p in ipairs(PRIORITIES) do
    if p ~= but and dequeue(id, p) then fix() end
  end
end

local function keep(key, id, score)                    -- it must be there
  if not call('ZSCORE', M .. key, id) then
    call('ZADD', M .. key, score, id)
    fix()
  end
end

local function check(k, id)
  local v = call('HMGET', k, 'state', 'priority', 'seq', 'finished_ms', 'group', 'deadline_ms', 'result_ttl_ms')
  local s, p = v[1], v[2]
  local is_dead = s == 'failed' and call('HSTRLEN', k, 'input') > 0     -- without it: given up
  if not s or not is_priority(p) or not tonumber(v[3]) then return end  -- not ours to judge
  drop_queued(id, s == 'queued' and p or '')
  if s ~= 'processing' then drop(':running', id) end
  if s ~= 'scheduled' then drop(':later', id) end
  if not is_dead then drop(':dead', id) end
  if s == 'queued' or s == 'scheduled' then
    if tonumber(v[6]) then keep(':deadline', id, v[6]) end
  else drop(':deadline', id) end
  if s == 'queued' then
    if not call('ZSCORE', M .. ':queued:' .. p, id) then enqueue(id, 'RPUSH'); fix() end
  elseif s == 'processing' then keep(':running', id, now + lease_ms)
  elseif s == 'scheduled' then keep(':later', id, now)
  elseif is_dead then keep(':dead', id, tonumber(v[4]) and v[4] or now) end
  if s == 'queued' or s == 'scheduled' or s == 'processing' or is_dead then
    if call('PERSIST', k) == 1 then fix() end
  elseif call('PTTL', k) == -1 and not (v[5] and num(call('HGET', M .. ':group:' .. v[5], 'left')) > 0) then
    lay_to_rest(k, id, life(v[7]))
    fix()
  end
end

local page = call('SCAN', cursor, 'MATCH', M .. ':task:*', 'COUNT', count)
for _, k in ipairs(page[2]) do
  if call('TYPE', k).ok == 'hash' then check(k, string.sub(k, #M + 7)) end
end
if page[1] == '0' then                                 -- sums drift only if somebody deleted a hash
  for _, p in ipairs(PRIORITIES) do
    if call('ZCARD', M .. ':queued:' .. p) == 0 then
      for _, sum in ipairs({'queued_prefill:', 'queued_steps:', 'queued_bytes:'}) do
        if num(call('HGET', M .. ':stats', sum .. p)) ~= 0 then call('HSET', M .. ':stats', sum .. p, 0); fix() end
      end
    end
  end
end
return {page[1], fixed}
