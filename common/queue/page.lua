#!lua flags=no-writes,allow-oom
-- page - tasks of a list, newest first.
--
-- KEYS  prefix
-- ARGV  list cursor_score cursor_id limit state priority, then names of fields; the first is priority,
--       the second seq, the third state
--       list: 'dead', 'recent' or 'owner:<name>'; a cursor is the pair of the last answer, '' '' begins;
--       state and priority: '' any (queued means scheduled, too)
-- Reply {now_ms, cursor_score, cursor_id, {id, is_group, left, position, {delivery}, value...}*}; a cursor
--       of '' ends the list. Ids nobody knows any more are left out, so a page may be short.
-- Moves nothing.
local LOOK, BATCH = 1000, 100                          -- ids looked at by one call, and at a time
local list, score, last, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = M .. ':' .. list
if not (list == 'dead' or list == 'recent' or string.match(list, '^owner:.')) or not limit or limit < 1 or
   limit > 200 or #ARGV < 9 or #ARGV > 60 or not (score == '' or whole(score)) then
  return redis.error_reply('ERR page: bad argument')
end
local out, looked, skip = {now, '', ''}, 0, 0

local function wanted(state, p)
  if state == 'scheduled' then state = 'queued' end
  return (ARGV[5] == '' or ARGV[5] == state) and (ARGV[6] == '' or ARGV[6] == p)
end

local function show(id)
  local v, is_group = view(id, 7), 0
  if v and list ~= 'dead' and v[1] ~= 2 then return end
  if not v then
    local g = call('HMGET', M .. ':group:' .. id, unpack(ARGV, 7))
    if not g[3] then return end
    v, is_group = {2, 0, {}, unpack(g)}, 1
  end
  if wanted(v[6], v[4]) then out[#out + 1] = {id, is_group, unpack(v)} end
end

while looked < LOOK do
  local ids = call('ZRANGE', key, score == '' and '+inf' or score, '-inf', 'BYSCORE', 'REV', 'LIMIT', skip, BATCH,
                   'WITHSCORES')
  skip = skip + #ids / 2
  for i = 1, #ids, 2 do
    -- one score may have several ids, the greatest first
    if not (ids[i + 1] == score and ids[i] >= last) then
      if #out - 3 >= limit or looked >= LOOK then return out end
      looked = looked + 1
      show(ids[i])
      out[2], out[3] = ids[i + 1], ids[i]
    end
  end
  if #ids < 2 * BATCH then out[2], out[3] = '', ''; break end
end
return out
