#!lua flags=no-writes,allow-oom
-- metrics_read - the sums of all processes, and the gauges of those that live.
--
-- KEYS  prefix (kq:{@metrics})
-- ARGV  silent_ms: a process that has said nothing for so long does not live
-- Reply {{field, value, ...} of the sums, then of each process}. Sums that are more than any version
--       of ours would store are answered as none.
-- Moves nothing.
local FIELDS_MAX, PROCESSES_MAX = 40000, 1000
local silent_ms = tonumber(ARGV[1])
if not silent_ms then return redis.error_reply('ERR metrics_read: bad argument') end
local function all(key) return call('HLEN', key) <= FIELDS_MAX and call('HGETALL', key) or {} end
local out = {all(M .. ':sum')}
for _, process in ipairs(call('ZRANGE', M .. ':processes', now - silent_ms, '+inf', 'BYSCORE', 'LIMIT', 0,
                              PROCESSES_MAX)) do
  out[#out + 1] = all(M .. ':gauges:' .. process)
end
return out
