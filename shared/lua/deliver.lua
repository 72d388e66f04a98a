-- Adds deliveries with the keys of arq's enqueue_job. Existing deliveries are not changed. Wakes the
-- lanes of deliveries that are due soon, and those whose queue was empty: their workers do not look at
-- an empty queue. A lane that already has due deliveries is not woken: its workers were woken for those,
-- or claim as soon as they have a free slot, and find the new ones too. A wake-up tells the first arq
-- ids, so that a claim can declare their keys.
-- KEYS: 1 wake-up channel, 2 changes channel, then for each group of deliveries with the same lane and
-- delay: the queue, and for each delivery its payload, and where running deliveries must run once more
-- also its lease and its rerun key
-- ARGV: 1 wake-up window (ms), 2 the message for the changes channel or '', 3 '1' if running deliveries
-- must run once more, or '', 4 TTL of rerun keys (ms), 5 a word to publish besides or '', then for each
-- group: the word that wakes its lane, prefix of its arq ids, payload before and after the job id, TTL
-- of payloads (ms), delay by this clock (ms), and the job ids without separators.
local ID_LENGTH = 36
-- Well below the maximum number of arguments of one call.
local MOST_IN_ONE_CALL = 2000
local MOST_TOLD = 20
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local soon = now + tonumber(ARGV[1])
local called, is_called = {}, {}
local next_key = 3
local keys_of_each = ARGV[3] == '' and 1 or 3

for at = 6, #ARGV, 7 do
  local queue = KEYS[next_key]
  next_key = next_key + 1
  local word, prefix, head, tail, keep_ms, delay, ids = unpack(ARGV, at, at + 6)
  local score = math.max(now + tonumber(delay), 1)
  -- Lua would write 14 digits, of which 13 are before the point.
  local score_text = string.format('%.3f', score)
  local due = {}
  if not is_called[queue] and (score < soon and redis.call('ZCOUNT', queue, '-inf', now) == 0
      or score >= soon and redis.call('EXISTS', queue) == 0) then
    is_called[queue] = true
    called[#called + 1] = word
    for first = 1, math.min(#ids, ID_LENGTH * MOST_TOLD), ID_LENGTH do
      called[#called + 1] = prefix .. string.sub(ids, first, first + ID_LENGTH - 1)
    end
  end
  for first = 1, #ids, ID_LENGTH do
    local id = string.sub(ids, first, first + ID_LENGTH - 1)
    redis.call('SET', KEYS[next_key], head .. id .. tail, 'PX', keep_ms, 'NX')
    if ARGV[3] ~= '' and redis.call('EXISTS', KEYS[next_key + 1]) == 1 then
      redis.call('SET', KEYS[next_key + 2], 'again', 'PX', ARGV[4])
    end
    next_key = next_key + keys_of_each
    due[#due + 1] = score_text
    due[#due + 1] = prefix .. id
    if #due >= MOST_IN_ONE_CALL then
      redis.call('ZADD', queue, 'NX', unpack(due))
      due = {}
    end
  end
  if #due > 0 then redis.call('ZADD', queue, 'NX', unpack(due)) end
end
if ARGV[5] ~= '' then called[#called + 1] = ARGV[5] end
if #called > 0 then redis.call('PUBLISH', KEYS[1], table.concat(called, ' ')) end
if ARGV[2] ~= '' then redis.call('PUBLISH', KEYS[2], ARGV[2]) end
return redis.status_reply('OK')
