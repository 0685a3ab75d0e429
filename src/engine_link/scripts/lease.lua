-- Grants leases of counters, and takes back what was not spent.
--
-- KEYS: the counters. ARGV: now in microseconds (0: the time of this engine), and FIELDS numbers for each counter. Reply: now, then for
-- each counter 7 numbers: status (0 done, -1 not ours), hits at once, hits of the lease, hits left (below 0: more are counted than
-- allowed), how long the lease lasts, the name of the window, the time until there is a hit if there is none.
--
-- Values: "count" | "end count" | "begin previous current" | "time hits part window turn length before lent lent-before" (a bucket's
-- debt, and what is lent of it in two periods), or the first four of them. Numbers are whole and below 2^53, so that doubles are
-- exact; sizes are computed as `store/lease/size.rs` does, step by step.
local FIELDS = 16
local LATE = 900000
-- The largest counts: of one number, and of a sliding window, whose counts are two halves of one.
local MOST, MOST_SLIDING = 9007199254740991, 4294967294

local function store(c, at, ...)
  local words = { ... }
  for i = 1, #words do words[i] = text(words[i]) end
  redis.call('SET', c.key, table.concat(words, ' '), 'PXAT', lives_until(at))
end

-- The numbers of the value; nil: there is none; false: it is not ours.
local function load(c, count, other)
  local value = redis.pcall('GET', c.key)
  if type(value) == 'table' then return false end
  if not value then return nil end
  return numbers(value, count, other) or false
end

-- The size of a lease besides the hits that wait.
local function beyond_waiting(size, waiting, room)
  if size < 2 then return 0 end
  return math.max(math.min(math.floor(size) - waiting, room - waiting), 0)
end

local function of_window(c, room, left_us)
  local left, rate = left_us / 1e6, c.rate / 1e3
  local horizon = 10
  if room * 2 < c.max then horizon = math.min(math.max(c.window / 8e6, 0.05), 10) end
  local want = math.min(rate * math.min(horizon, left), 2 * c.last)
  local cap = math.max(room / (2 * c.replicas), math.min(rate * left / 10, room / 4))
  return beyond_waiting(math.min(want, cap), c.waiting, room)
end

-- Hits for those that wait: none if they are too few for any check.
local function at_once_of(c, room)
  if room < c.least then return 0 end
  return math.min(room, c.waiting)
end

-- Grants to a window in which `used` hits are used: at once, the lease, and how many are used then.
local function grant(c, used, left_us)
  local room = math.max(c.max - used, 0)
  local at_once, lease = at_once_of(c, room), 0
  if at_once == c.waiting then lease = of_window(c, room, left_us) end
  return at_once, lease, math.min(used + at_once + lease, MOST)
end

local shapes = {}

-- 1: fixed windows by the clock.
shapes[1] = function(c)
  if now >= c.name + LATE then return 0, 0, 0, 0, c.name, 0 end
  local state = load(c, 1)
  if state == false then return end
  local before = state and state[1] or 0
  local left = math.min(math.max(c.name - now, 0), c.window)
  local at_once, lease, used = grant(c, math.max(before - c.returned, 0) + c.charged, left)
  if used ~= before then store(c, c.name, used) end
  return at_once, lease, c.max - used, left, c.name, left
end

-- 2: fixed windows from the first request.
shapes[2] = function(c)
  local state = load(c, 2)
  if state == false then return end
  if state and state[1] <= now then state = nil end
  -- What was charged in a window that has ended does not begin another one.
  local charged = c.charged
  if c.name ~= 0 and not (state and state[1] == c.name) then charged = 0 end
  if not state and c.waiting == 0 and charged == 0 then return 0, 0, c.max, 0, 0, 0 end
  local ends, before = now + c.window, 0
  if state then ends, before = state[1], state[2] end
  local returned = c.name == ends and c.returned or 0
  local left = ends - now
  local at_once, lease, used = grant(c, math.max(before - returned, 0) + charged, left)
  if used ~= before then store(c, ends, ends, used) end
  local name = ends
  if used == before and not state then name = 0 end
  return at_once, lease, c.max - used, left, name, left
end

-- The time into the next window after which `count` hits of a window weigh at most `room`.
local function decayed(c, count, room)
  if count <= room then return 0 end
  return c.window - math.min((muldiv(room, c.window, count)), c.window)
end

-- 3: sliding windows.
shapes[3] = function(c)
  local state = load(c, 3)
  if state == false then return end
  local elapsed = math.fmod(now, c.window)
  local begin, previous, current = now - elapsed, 0, 0
  if state and state[1] + 2 * c.window > now then
    if now < state[1] then
      begin, previous, current, elapsed = state[1], state[2], state[3], 0
    elseif begin == state[1] then
      previous, current = state[2], state[3]
    else
      previous = state[3]
    end
  end
  local read_previous, read_current = previous, current
  if c.name == begin then
    current = math.max(current - c.returned, 0)
  elseif c.name + c.window == begin then
    previous = math.max(previous - c.returned, 0)
  end
  current = current + c.charged
  local weighed, rest = muldiv(previous, c.window - elapsed, c.window)
  if rest > 0 then weighed = weighed + 1 end
  local left = c.window - elapsed
  local at_once, lease, used = grant(c, weighed + current, left)
  current = math.min(used - weighed, MOST_SLIDING)
  if previous ~= read_previous or current ~= read_current then
    store(c, begin + 2 * c.window, begin, previous, current)
  end
  local wait
  if current < c.max then
    wait = math.max(decayed(c, previous, c.max - 1 - current) - elapsed, 0)
  elseif c.max == 0 then
    wait = 2 * c.window - elapsed
  else
    wait = c.window - elapsed + decayed(c, current, c.max - 1)
  end
  return at_once, lease, c.max - used, left, begin, wait
end

-- What is lent is missing in the bucket.
local function hold_lent(b)
  if b.hits < b.lent + b.lent_before then b.hits, b.part = b.lent + b.lent_before, 0 end
end

local function regain(c, b, till)
  if till > b.time then
    local regained, rest = muldiv(till - b.time, c.max, c.window)
    local borrow = b.part < rest and 1 or 0
    if b.hits < regained + borrow then
      b.hits, b.part = 0, 0
    else
      b.hits, b.part = b.hits - regained - borrow, b.part + borrow * c.window - rest
    end
    b.time = till
  end
  hold_lent(b)
end

-- Refills a bucket up to what is lent, period by period.
local function advance(c, b, period)
  if b.window ~= c.window then
    local rest
    b.part, rest = muldiv(b.part, c.window, b.window)
    if rest > 0 then b.part = b.part + 1 end
    if b.part >= c.window then b.hits, b.part = b.hits + 1, b.part - c.window end
  end
  if now < b.time then
    -- The clock has stepped back: the bucket is full no earlier than it was to be.
    local back, rest = muldiv(b.time - now, c.max, c.window)
    b.hits, b.part, b.time = b.hits + back, b.part + rest, now
    if b.part >= c.window then b.hits, b.part = b.hits + 1, b.part - c.window end
    return
  end
  for _ = 1, 2 do
    local ends = b.turn + b.length
    if now < ends then break end
    regain(c, b, ends)
    b.before, b.turn, b.length = b.turn, ends, math.max(b.length, period)
    b.lent_before, b.lent = b.lent, 0
  end
  if b.lent == 0 and b.lent_before == 0 then
    b.length = period
    if now >= b.turn + period then b.turn, b.before = now, 0 end
  end
  regain(c, b, now)
end

-- What became of the tokens that the replica was lent. Nothing is known of a period that is forgotten.
local function settle_lent(c, b)
  if c.name == b.turn then
    b.lent = b.lent - math.min(c.reported + c.returned, b.lent)
  elseif c.name == b.before and b.before > 0 then
    b.lent_before = b.lent_before - math.min(c.reported + c.returned + c.kept, b.lent_before)
    b.lent = b.lent + c.kept
  else
    return
  end
  b.hits = math.max(b.hits - c.returned, 0)
end

-- 4: buckets. A bucket that is counted exactly has four numbers: nothing is lent.
shapes[4] = function(c)
  if c.max == 0 then return 0, 0, 0, 0, 0, 0 end
  local state = load(c, 9, 4)
  if state == false or (state and state[4] == 0) then return end
  local period = 2 * c.horizon
  local b = { time = now, hits = 0, part = 0, window = c.window, turn = now, length = period, before = 0, lent = 0, lent_before = 0 }
  if state then
    b.time, b.hits, b.part, b.window = state[1], state[2], state[3], state[4]
    if #state == 9 then
      b.turn, b.length, b.before, b.lent, b.lent_before = state[5], state[6], state[7], state[8], state[9]
    end
  end
  advance(c, b, period)
  settle_lent(c, b)
  b.hits = math.max(b.hits - c.refunded, 0)
  if c.charged > 0 then b.hits = math.max(b.hits, math.min(b.hits + c.charged, c.burst + c.max)) end
  hold_lent(b)
  local function used() return b.hits + (b.part > 0 and 1 or 0) end
  local room = math.max(c.burst - used(), 0)
  local at_once, lease = at_once_of(c, room), 0
  if at_once == c.waiting then
    local rest = room - at_once
    local want = math.min(c.rate / 1e3 * (c.horizon / 1e6), 2 * c.last)
    lease = beyond_waiting(math.min(want, rest / 2), 0, rest)
  end
  b.hits, b.lent = b.hits + at_once + lease, b.lent + lease
  local wait = 0
  if used() >= c.burst then
    local whole, rest = muldiv(b.hits - (c.burst - 1), c.window, c.max)
    wait = whole + math.ceil((b.part + rest) / c.max)
  end
  local lapses = b.turn + 2 * b.length
  if at_once + lease > 0 or c.returned + c.reported + c.kept + c.refunded + c.charged > 0 then
    local full = now + muldiv(b.hits + 1, c.window, c.max) + 1
    store(c, math.max(full, lapses), now, b.hits, b.part, c.window, b.turn, b.length, b.before, b.lent, b.lent_before)
  end
  return at_once, lease, c.burst - used(), math.max(lapses - now, 0), b.turn, wait
end

local reply = { now }
for i = 1, #KEYS do
  local n, at = {}, 1 + (i - 1) * FIELDS
  for field = 1, FIELDS do n[field] = tonumber(ARGV[at + field]) end
  local c = {
    key = KEYS[i], max = n[2], window = n[3], burst = n[4], horizon = n[5], replicas = n[6], name = n[7], waiting = n[8], least = n[9],
    rate = n[10], last = n[11], returned = n[12], reported = n[13], kept = n[14], refunded = n[15], charged = n[16],
  }
  local at_once, lease, left, lasts, name, wait = shapes[n[1]](c)
  local numbers = { 0, at_once, lease, left, lasts, name, wait }
  if not at_once then numbers = { -1, 0, 0, 0, 0, 0, 0 } end
  for field = 1, 7 do reply[#reply + 1] = numbers[field] end
end
return reply
