#!lua flags=allow-oom
-- leave - a worker that exits cleanly is not counted as live any longer.
--
-- KEYS  prefix
-- ARGV  worker
-- Reply 1 was present, 0 was not.
-- Moves nothing; deletes the presence. Leases it still holds run out as usual.
call('DEL', M .. ':worker:' .. ARGV[1])
return call('ZREM', M .. ':workers', ARGV[1])
