#!lua
-- submit - accept one task, or all tasks of a group, or none: nothing -> queued.
--
-- KEYS  prefix
-- ARGV  id priority owner idem digest same ttl_ms idem_ttl_ms max_attempts deadline_in_ms webhook
--       max_queued max_bytes hook_events eta_ms trace_id, then per series: task_id cost_prefill cost_steps
--       horizon input about
--       '' = absent, deadline_in_ms 0 = none, horizon 0 = unknown; hook_events: states the webhook wants to
--       hear of, ",processing,failed,"; '' every end. `id` is the one task's own, else it names a group of them, of one or more.
--       eta_ms: estimated time to the result, 0 unknown; both for whoever runs it.
-- Reply {code, id}: 1 new, 2 same request (id is the first one's), 3 joined a twin (id is the twin's),
--       -1 queue full, -2 bytes full, -3 same key or id for another request, -4 draining,
--       -9 bad argument. No flags: Redis refuses the script when memory is full.
-- Moves new ids into :queued:<p> and :list:<p>; writes :task:<id>, :group:<id>, :idem:, :same:, :owner:,
--       :recent.
local HEAD, EACH, LISTED_MAX = 16, 6, 10000
local id, p, owner, idem, digest, same = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local ttl, idem_ttl, deadline_in = ARGV[7], ARGV[8], ARGV[10]
local n, bytes, seen = (#ARGV - HEAD) / EACH, 0, {}
if n < 1 or n ~= math.floor(n) or id == '' or digest == '' or not is_priority(p) then return {-9, id} end
for _, i in ipairs({7, 8, 9, 10, 12, 13, 15}) do
  if not whole(ARGV[i]) then return {-9, id} end
end
if num(ttl) < 1 or num(idem_ttl) < 1 then return {-9, id} end
local grouped = n > 1 or ARGV[HEAD + 1] ~= id
for i = HEAD + 1, #ARGV, EACH do
  local one = ARGV[i]
  if one == '' or seen[one] or not whole(ARGV[i + 1]) or not whole(ARGV[i + 2]) or
     not whole(ARGV[i + 3]) then return {-9, id} end
  seen[one], bytes = true, bytes + #ARGV[i + 4]
end
if grouped and seen[id] then return {-9, id} end

local function known(old)                              -- nil unknown, 2 same request, -3 other request
  if not old then return end
  local d = call('HGET', task(old), 'digest') or call('HGET', M .. ':group:' .. old, 'digest') or
            call('HGET', M .. ':gone:' .. old, 'digest')
  if d then return {d == digest and 2 or -3, old} end
end
local hit = known(id) or (idem ~= '' and known(call('GET', M .. ':idem:' .. idem)))
if hit then return hit end
if grouped then                                        -- a member that exists would be counted twice
  for one in pairs(seen) do
    if call('EXISTS', task(one)) == 1 then return {-9, id} end
  end
end

local twin = same ~= '' and not grouped and call('GET', M .. ':same:' .. same)
local t = twin and call('HMGET', task(twin), 'state', 'finished_ms', 'result_ttl_ms', 'cancel')
if t and not t[4] and (t[1] == 'queued' or t[1] == 'scheduled' or t[1] == 'processing' or t[1] == 'completed') then
  local life = num(ttl)                                -- the later waiter may want it for longer
  if t[1] == 'completed' then life = now - num(t[2]) + life
  else call('HINCRBY', task(twin), 'shares', 1) end
  if life > num(t[3]) then
    call('HSET', task(twin), 'result_ttl_ms', life)
    if t[1] == 'completed' then lay_to_rest(task(twin), twin, num(ttl)) end
  end
  if idem ~= '' then call('SET', M .. ':idem:' .. idem, twin, 'PX', idem_ttl) end
  return {3, twin}
end

local c = call('HMGET', M .. ':control', 'draining', 'draining:' .. p)
if c[1] or c[2] then return {-4, id} end
if call('ZCARD', M .. ':queued:' .. p) + n > tonumber(ARGV[12]) then return {-1, id} end
if num(call('HGET', M .. ':stats', 'input_bytes')) + bytes > tonumber(ARGV[13]) then return {-2, id} end

local function hears_of(state)
  return ARGV[11] ~= '' and string.find(ARGV[14], ',' .. state .. ',', 1, true)
end
local g = M .. ':group:' .. id
for i = HEAD + 1, #ARGV, EACH do
  local one = ARGV[i]
  local k = task(one)
  call('HSET', k, 'format', 1, 'priority', p, 'seq', call('INCR', M .. ':seq'), 'fence', 0, 'attempts', 0,
       'max_attempts', ARGV[9], 'crashes', 0, 'created_ms', now, 'result_ttl_ms', ttl, 'owner', owner,
       'cost_prefill', ARGV[i + 1], 'cost_steps', ARGV[i + 2], 'digest', digest,
       'horizon', ARGV[i + 3], 'input', ARGV[i + 4], 'about', ARGV[i + 5])
  if num(deadline_in) > 0 then call('HSET', k, 'deadline_ms', now + num(deadline_in)) end
  if grouped then
    call('HSET', k, 'group', id, 'group_index', (i - HEAD - 1) / EACH)
    call('RPUSH', g .. ':tasks', one)
  end
  if num(ARGV[15]) > 0 then call('HSET', k, 'eta_ms', ARGV[15]) end
  if ARGV[16] ~= '' then call('HSET', k, 'trace_id', ARGV[16]) end
  if hears_of('processing') then call('HSET', k, 'hook_processing', 1) end
  enqueue(one, 'RPUSH')
end
if grouped then
  call('HSET', g, 'state', 'queued', 'total', n, 'left', n, 'owner', owner, 'digest', digest,
       'created_ms', now, 'result_ttl_ms', ttl, 'priority', p)
end
local subject = grouped and g or task(id)
if ARGV[11] ~= '' then call('HSET', subject, 'webhook', ARGV[11]) end
if ARGV[11] ~= '' and ARGV[14] ~= '' then call('HSET', subject, 'hook_events', ARGV[14]) end
if idem ~= '' then                                     -- the names are kept for purge
  call('SET', M .. ':idem:' .. idem, id, 'PX', idem_ttl)
  call('HSET', subject, 'idem', idem)
end
if same ~= '' and not grouped then
  call('SET', M .. ':same:' .. same, id, 'PX', idem_ttl)
  call('HSET', subject, 'same', same)
end
for _, list in ipairs({':owner:' .. owner, ':recent'}) do
  call('ZADD', M .. list, now, id)
  call('ZREMRANGEBYRANK', M .. list, 0, -LISTED_MAX - 1)
end
bump('submitted', n)
bump('input_bytes', bytes)
return {1, id}
