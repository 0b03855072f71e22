#!lua flags=allow-oom
-- metrics_add - add what a process has counted to the sums of all, and note its gauges.
--
-- KEYS  prefix (kq:{@metrics}, which is no model's)
-- ARGV  process number n_gauges leaving, then field value pairs: n_gauges gauges, then increments.
--       number: of this batch, as the process counts them; '0' has no increments. leaving '1': the
--       process ends and has no gauges any more.
-- Reply {code, refused}: 1 added, 2 it had been added before (the reply was lost); increments of
--       fields there is no room for.
-- Writes :sum, :batch:<process>, :gauges:<process>, :processes.
local HEAD, FIELDS_MAX, VALUE_MAX, BATCH_MS, SILENT_MS = 4, 20000, 1e15, 86400000, 60000
local process, number, n_gauges = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not process or process == '' or not whole(number) or not n_gauges or (#ARGV - HEAD) % 2 ~= 0 or
   HEAD + 2 * n_gauges > #ARGV then
  return redis.error_reply('ERR metrics_add: bad argument')
end
for i = HEAD + 2, #ARGV, 2 do
  if not tonumber(ARGV[i]) then return redis.error_reply('ERR metrics_add: bad argument') end
end

local gauges = M .. ':gauges:' .. process
call('DEL', gauges)
call('ZREM', M .. ':processes', process)
if n_gauges > 0 and ARGV[4] ~= '1' then
  for i = HEAD + 1, HEAD + 2 * n_gauges, 2 do call('HSET', gauges, ARGV[i], ARGV[i + 1]) end
  call('PEXPIRE', gauges, SILENT_MS)
  call('ZADD', M .. ':processes', now, process)
end
call('ZREMRANGEBYSCORE', M .. ':processes', '-inf', now - SILENT_MS)

if number == '0' then return {1, 0} end
local batch, sum, refused = M .. ':batch:' .. process, M .. ':sum', 0
if call('GET', batch) == number then return {2, 0} end
call('SET', batch, number, 'PX', BATCH_MS)
local is_full = call('HLEN', sum) + (#ARGV - HEAD) / 2 > FIELDS_MAX
for i = HEAD + 2 * n_gauges + 1, #ARGV, 2 do
  if is_full and call('HEXISTS', sum, ARGV[i]) == 0 then refused = refused + 1
  else
    local added = redis.pcall('HINCRBYFLOAT', sum, ARGV[i], ARGV[i + 1])
    local now_is = type(added) == 'string' and tonumber(added)
    if not now_is or now_is < tonumber(ARGV[i + 1]) or now_is > VALUE_MAX then
      call('HSET', sum, ARGV[i], ARGV[i + 1])          -- what stood there was no sum of ours
    end
  end
end
return {1, refused}
