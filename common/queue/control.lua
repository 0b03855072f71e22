#!lua flags=allow-oom
-- control - what operators want of a whole queue.
--
-- KEYS  prefix
-- ARGV  action what
--       pause, resume, drain, open: of one priority, or of all of them: what = ''
--       weights: what = "28,3,1", turns of urgent, normal and low; '' the default again
-- Reply 1.
-- Moves nothing; writes :control. resume pushes the hints that workers spent in vain meanwhile.
local PUSH = 10000                                     -- hints pushed per priority: what sweep finds later
local action, what = ARGV[1], ARGV[2]
local name = ({pause = 'paused', resume = 'paused', drain = 'draining', open = 'draining'})[action]
local control = M .. ':control'
if action == 'weights' then
  local a, b, c = string.match(what, '^(%d%d?%d?),(%d%d?%d?),(%d%d?%d?)$')
  if what ~= '' and not (a and a + b + c > 0) then return redis.error_reply('ERR control: bad weights') end
  if what == '' then call('HDEL', control, 'weights') else call('HSET', control, 'weights', what) end
  return 1
end
if not name or not (what == '' or is_priority(what)) then return redis.error_reply('ERR control: bad argument') end

if action == 'pause' or action == 'drain' then
  call('HSET', control, what == '' and name or name .. ':' .. what, 1)
  return 1
end
-- One of all that are paused is resumed: the others stay as they are, each by its own name now.
local all = call('HDEL', control, name) == 1
for _, p in ipairs(PRIORITIES) do
  if what == '' or p == what then call('HDEL', control, name .. ':' .. p)
  elseif all then call('HSET', control, name .. ':' .. p, 1) end
end
if action == 'open' then return 1 end
for _, p in ipairs(PRIORITIES) do
  local q, l = M .. ':queued:' .. p, M .. ':list:' .. p
  local missing = math.min(call('ZCARD', q) - call('LLEN', l), PUSH)
  if missing > 0 and not paused(p) then
    for _, id in ipairs(call('ZRANGE', q, 0, missing - 1)) do call('RPUSH', l, id) end
    call('HDEL', M .. ':deficit', p)
  end
end
return 1
