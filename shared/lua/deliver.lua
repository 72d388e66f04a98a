-- Makes deliveries as arq's own enqueue_job writes them; those already there stay as they are. Calls
-- the lanes for those that are due soon, unless something was due in them already: then a worker has
-- been called for that, or looks when it has room, and finds these beside it.
-- KEYS: the queue of each group of deliveries that are due at the same moment
-- ARGV: 1 arq's job prefix, 2 wake channel, 3 within how long due means soon (ms), 4 changes channel or '',
-- 5 what is said there, 6 arq's in-progress prefix where what is running now is to run once more, or
-- '', 7 the hasten prefix, 8 how long that is remembered (ms), then for each group: prefix of its arq
-- ids, payload before and after the job id, how long payloads are kept (ms), delay until they are due
-- by this clock (ms), and the job ids, one right behind the other.
local ID_LENGTH = 36
-- Well below what one call takes from Lua's stack.
local MOST_IN_ONE_CALL = 2000
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local soon = now + tonumber(ARGV[3])
local called, is_called = {}, {}

for number, queue in ipairs(KEYS) do
  local at = 9 + (number - 1) * 6
  local prefix, head, tail, keep_ms, delay, ids = unpack(ARGV, at, at + 5)
  local score = math.max(now + tonumber(delay), 1)
  local due = {}
  if score < soon and not is_called[queue] and redis.call('ZCOUNT', queue, '-inf', now) == 0 then
    is_called[queue] = true
    called[#called + 1] = queue
  end
  for first = 1, #ids, ID_LENGTH do
    local id = string.sub(ids, first, first + ID_LENGTH - 1)
    redis.call('SET', ARGV[1] .. prefix .. id, head .. id .. tail, 'PX', keep_ms, 'NX')
    if ARGV[6] ~= '' and redis.call('EXISTS', ARGV[6] .. prefix .. id) == 1 then
      redis.call('SET', ARGV[7] .. prefix .. id, 'again', 'PX', ARGV[8])
    end
    due[#due + 1] = score
    due[#due + 1] = prefix .. id
    if #due >= MOST_IN_ONE_CALL then
      redis.call('ZADD', queue, 'NX', unpack(due))
      due = {}
    end
  end
  if #due > 0 then redis.call('ZADD', queue, 'NX', unpack(due)) end
end
if #called > 0 then redis.call('PUBLISH', ARGV[2], table.concat(called, ' ')) end
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return redis.status_reply('OK')
