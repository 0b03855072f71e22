#!lua flags=allow-oom
-- complete - publish the output of a run: processing -> completed, at most once.
--
-- KEYS  prefix
-- ARGV  id fence worker output [prefill_seconds step_seconds]
--       what this run took per prefill token and per decode step of the worker; '' not measured
-- Reply 1 published, 2 this run had published it before, 3 cancelled and 4 expired (the output is
--       dropped), 0 fenced: another holds the task or it has ended.
-- Moves :running -> completed, cancelled or expired, with group, outbox and event; writes the model's
--       averages in :speed.
local k = task(ARGV[1])
local v = call('HMGET', k, 'state', 'fence', 'worker', 'cancel', 'deadline_ms', 'queued_ms', 'started_ms')
local mine = v[2] == ARGV[2] and v[3] == ARGV[3]
if mine and v[1] == 'completed' then return 2 end
if not mine or v[1] ~= 'processing' then bump('fenced'); return 0 end
if v[4] then finish(ARGV[1], 'cancelled', 'cancelled_by_client', ''); return 3 end
if v[5] and num(v[5]) <= now then
  finish(ARGV[1], 'expired', 'deadline_exceeded', 'finished too late')
  return 4
end
for i, name in ipairs({'prefill_seconds', 'step_seconds'}) do
  local new, old = num(ARGV[4 + i]), num(call('HGET', M .. ':speed', name))
  if new > 0 and new < 1e6 then                        -- not for nan, which compares with nothing
    call('HSET', M .. ':speed', name, string.format('%.9g', old > 0 and 0.8 * old + 0.2 * new or new))
  end
end
call('HSET', k, 'output', ARGV[4])
bump('wait_ms', num(v[7]) - num(v[6]))
bump('run_ms', now - num(v[7]))
finish(ARGV[1], 'completed')
return 1
