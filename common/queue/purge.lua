#!lua flags=allow-oom
-- purge - erase a task that has ended, or a group with its members, and everything that refers to it.
--
-- KEYS  prefix
-- ARGV  id what
--       what: 'task' erases all of it; 'dead' gives up a dead letter: its input goes, and its document
--       lives out its life
-- Reply 1 done, 2 has not ended, 3 a member of a group that is still there, 0 unknown, or no dead letter.
-- Moves nothing into another state.
local MEMBERS, EVENTS = 1000, 100                      -- limits of the two loops
local id, k, g = ARGV[1], task(ARGV[1]), M .. ':group:' .. ARGV[1]
if ARGV[2] == 'dead' then
  if not call('ZSCORE', M .. ':dead', id) then return 0 end
  bury(id)
  return 1
elseif ARGV[2] ~= 'task' then return redis.error_reply('ERR purge: bad argument') end

local ENDS = {completed = true, failed = true, cancelled = true, expired = true}

local function erase(key, one)
  local v = call('HMGET', key, 'idem', 'same', 'owner', 'delivery')
  for i, kind in ipairs({':idem:', ':same:'}) do
    local alias = M .. kind .. (v[i] or '')
    if v[i] and call('GET', alias) == one then call('DEL', alias) end
  end
  if v[3] then call('ZREM', M .. ':owner:' .. v[3], one) end
  call('ZREM', M .. ':recent', one)
  local event = v[4]
  for _ = 1, EVENTS do                                 -- the last event, and what was said before it
    if not event or event == '' then break end
    local d = M .. ':delivery:' .. event
    call('ZREM', M .. ':webhook', event)
    call('ZREM', M .. ':webhook:dead', event)
    event = call('HGET', d, 'previous')
    call('DEL', d)
  end
  if call('ZREM', M .. ':dead', one) == 1 then bump('input_bytes', -call('HSTRLEN', key, 'input')) end
  call('DEL', key, M .. ':gone:' .. one)
end

if call('HEXISTS', g, 'total') == 1 then
  if num(call('HGET', g, 'left')) > 0 then return 2 end
  for _, member in ipairs(call('LRANGE', g .. ':tasks', 0, MEMBERS - 1)) do
    if call('HGET', task(member), 'group') == id then erase(task(member), member) end
  end
  call('DEL', g .. ':tasks')
  erase(g, id)
  return 1
end
local v = call('HMGET', k, 'state', 'group')
if not v[1] then return call('DEL', M .. ':gone:' .. id) end
if not ENDS[v[1]] then return 2 end
if v[2] and call('EXISTS', M .. ':group:' .. v[2]) == 1 then return 3 end
erase(k, id)
return 1
