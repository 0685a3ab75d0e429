-- Charges counters, check after check. A check with several counters is charged all or nothing. Operators make counters fresh.
--
-- KEYS: the counters. ARGV: now in microseconds (0: the time of this engine), the number of checks, and as one text of whole numbers of 8
-- bytes, the lowest first, for each check the number of its counters, how it is charged (0: alone; 1: jointly; 2: jointly, and one of its
-- quotas has no limit; 3: it is not, but its counter made fresh; 4: the same, if a ban runs) and 13 numbers for each counter (COUNTER).
-- Reply, such a text too: now, then for each check 1 if it is admitted (or its counter was made fresh), and for each of its counters 6
-- numbers: what became of the charge (the constants below), kind of the state before (0 fresh, 1 counts, 2 ban, 3 log), three numbers of
-- it, and the hits. As arguments and a reply of their own these numbers took the engine and the client longer.
--
-- Values: "count" | "end count" | "begin previous current" | "time hits part window" (a bucket's debt) | list of times | "B until".
-- Numbers are whole and below 2^53, so that doubles are exact.
local CHECK, COUNTER = '<i8i8', '<' .. string.rep('i8', 13)
local LOG_MAX = 131072
-- What became of a charge. NOT_OURS: the key has another kind of value. OVER: over its limit, which did not deny the check.
local NOT_OURS, ALONE, CHARGED, CHARGED_ALONE, DENIED, OVER, LEFT, GIVEN = -1, 0, 1, 2, 3, 4, 5, 6
-- The roles of groups.
local REQUIRED, QUOTA, OBSERVED = 0, 1, 2

local function store(c, value, at) redis.call('SET', c.key, value, 'PXAT', lives_until(at)) end

local function begin_ban(c) store(c, 'B ' .. text(now + c.ban), now + c.ban) end

-- The state: its kind, and its numbers. Kind -1 is a value that is not ours.
local read = {}

-- Of strings: nil if it is fresh, a ban, or the numbers.
local function read_string(c, count, other)
  local value = redis.pcall('GET', c.key)
  if type(value) == 'table' then return -1 end
  if not value then return 0 end
  local banned = string.match(value, '^B (%d+)$')
  if banned then
    local ends = tonumber(banned)
    if c.ban > 0 and ends > now then return 2, { ends } end
    return 0
  end
  local found = numbers(value, count, other)
  if not found then return -1 end
  return 1, found
end

-- 1: fixed windows whose number is in the key.
read[1] = function(c) return read_string(c, 1) end
-- 2: fixed windows with their end.
read[2] = function(c)
  local kind, state = read_string(c, 2)
  if kind == 1 and state[1] <= now then return 0 end
  return kind, state
end
-- 3: sliding windows.
read[3] = function(c)
  local kind, state = read_string(c, 3)
  if kind == 1 and state[1] + 2 * c.window <= now then return 0 end
  return kind, state
end
-- What a bucket regains in a time.
local function regained(c, hits, part, time)
  local whole, rest = muldiv(time, c.max, c.window)
  hits, part = hits - whole, part - rest
  if part < 0 then hits, part = hits - 1, part + c.window end
  if hits < 0 then return 0, 0 end
  return hits, part
end

-- 4: buckets. The debt as of now: whole hits, and a part in units of 1 / window. Of one that is leased, too (lease.lua), five more numbers
-- say what is lent: that much is missing until it lapses.
read[4] = function(c)
  local kind, state = read_string(c, 4, 9)
  if kind ~= 1 then return kind, state end
  local time, hits, part, window = state[1], state[2], state[3], state[4]
  if window == 0 then return -1 end
  if window ~= c.window then
    local rest
    part, rest = muldiv(part, c.window, window)
    if rest > 0 then part = part + 1 end
    if part >= c.window then hits, part = hits + 1, part - c.window end
  end
  if #state == 9 then
    local lent, lapses = state[8] + state[9], state[5] + 2 * state[6]
    if lapses > time then
      hits, part = regained(c, hits, part, math.max(math.min(now, lapses) - time, 0))
      if hits < lent then hits, part = lent, 0 end
      time = math.max(time, math.min(now, lapses))
    end
    if lapses > now then
      c.lapses, c.lent = lapses, ''
      for i = 5, 9 do c.lent = c.lent .. ' ' .. text(state[i]) end
    end
  end
  if now > time then
    hits, part = regained(c, hits, part, now - time)
  else
    -- The clock has stepped back: the bucket is full no earlier than it was to be.
    local back, rest = muldiv(time - now, c.max, c.window)
    hits, part = hits + back, part + rest
    if part >= c.window then hits, part = hits + 1, part - c.window end
  end
  if hits == 0 and part == 0 then return 0 end
  return 1, { hits, part }
end
-- 5: logs. The number of hits that count.
read[5] = function(c)
  c.is_spent_ban = false
  local length = redis.pcall('LLEN', c.key)
  if type(length) == 'table' then
    local kind, state = read_string(c, -1)
    if kind == 0 then c.is_spent_ban = true end
    if kind == 0 then return 3, { 0 } end
    return kind, state
  end
  while length > 0 do
    local oldest = tonumber(redis.call('LINDEX', c.key, 0))
    if not oldest then return -1 end
    if oldest + c.window > now then break end
    redis.call('LPOP', c.key)
    length = length - 1
  end
  return 3, { length }
end

-- One operation: whether it is admitted. With `commit` the next state is kept.
local step = {}

-- Whether a ban begins.
local function is_to_be_banned(c, hits, admitted, nothing_left)
  return c.ban > 0 and hits > 0 and (not admitted or (c.when == 1 and nothing_left))
end

local function fixed(c, count, exists, hits, deny, commit)
  if c.refund then
    if commit and exists then return true, math.max(count - hits, 0) end
    return true, nil
  end
  local after = count + hits
  local admitted = after <= c.max
  if is_to_be_banned(c, hits, admitted, after >= c.max) then
    if commit then begin_ban(c) end
    return admitted, nil
  end
  if commit and hits > 0 and (admitted or deny) then return admitted, math.min(after, 9007199254740991) end
  return admitted, nil
end

step[1] = function(c, kind, state, hits, deny, commit)
  local count = kind == 1 and state[1] or 0
  local admitted, kept = fixed(c, count, kind == 1, hits, deny, commit)
  if kept then store(c, text(kept), c.ends) end
  return admitted
end

step[2] = function(c, kind, state, hits, deny, commit)
  local ends, count = now + c.window, 0
  if c.aligned then
    ends = now - math.fmod(now, c.window) + c.window
  elseif c.ends > 1 then
    -- A calendar's window, or the next one if that has ended by now.
    ends = c.ends
    if ends <= now then ends = c.hold end
  end
  if kind == 1 then ends, count = state[1], state[2] end
  local admitted, kept = fixed(c, count, kind == 1, hits, deny, commit)
  if kept then store(c, text(ends) .. ' ' .. text(kept), ends) end
  return admitted
end

step[3] = function(c, kind, state, hits, deny, commit)
  local elapsed = math.fmod(now, c.window)
  local begin, previous, current = now - elapsed, 0, 0
  if kind == 1 then
    if now < state[1] then
      begin, previous, current, elapsed = state[1], state[2], state[3], 0
    elseif begin == state[1] then
      previous, current = state[2], state[3]
    else
      previous = math.min(state[3], 4294967294)
    end
  end
  local function keep()
    store(c, text(begin) .. ' ' .. text(previous) .. ' ' .. text(current), begin + 2 * c.window)
  end
  if c.refund then
    if commit and kind == 1 then
      local taken = math.min(hits, current)
      current, previous = current - taken, math.max(previous - (hits - taken), 0)
      keep()
    end
    return true
  end
  local weighed, rest = muldiv(previous, c.window - elapsed, c.window)
  if rest > 0 then weighed = weighed + 1 end
  local admitted = weighed + current + hits <= c.max
  if is_to_be_banned(c, hits, admitted, weighed + current + hits >= c.max) then
    if commit then begin_ban(c) end
  elseif commit and hits > 0 and (admitted or deny) then
    current = math.min(current + hits, 4294967295)
    keep()
  end
  return admitted
end

step[4] = function(c, kind, state, hits, deny, commit)
  if c.max == 0 then
    local admitted = c.refund or hits == 0
    if commit and is_to_be_banned(c, hits, admitted, true) and not c.refund then begin_ban(c) end
    return admitted
  end
  local debt, part = 0, 0
  if kind == 1 then debt, part = state[1], state[2] end
  local function keep(whole, rest)
    local wait = muldiv(whole + 1, c.window, c.max)
    local value = text(now) .. ' ' .. text(whole) .. ' ' .. text(rest) .. ' ' .. text(c.window) .. (c.lent or '')
    store(c, value, math.max(now + wait + 1, c.lapses or 0))
  end
  if c.refund then
    if commit and kind == 1 then
      if hits > debt then keep(0, 0) else keep(debt - hits, part) end
    end
    return true
  end
  local owed = c.burst + c.queue
  if hits == 0 then return debt < owed or (debt == owed and part == 0) end
  local most, most_part = c.queue, 0
  if c.hold >= 0 then
    local whole, rest = muldiv(c.hold, c.max, c.window)
    if whole < c.queue then most, most_part = whole, rest end
  end
  most = most + c.burst
  local wanted = debt + hits
  local admitted = wanted < most or (wanted == most and part <= most_part)
  local nothing_left = c.burst - wanted - (part > 0 and 1 or 0) <= 0
  if is_to_be_banned(c, hits, admitted, nothing_left) then
    if commit then begin_ban(c) end
  elseif commit and admitted then
    keep(wanted, part)
  elseif commit and deny then
    local deepest = owed + c.max
    if wanted >= deepest then wanted, part = deepest, 0 end
    if wanted > debt then keep(wanted, part) end
  end
  return admitted
end

local function log_time(c, index) return tonumber(redis.call('LINDEX', c.key, index)) or 0 end

step[5] = function(c, kind, state, hits, deny, commit)
  local total = state[1]
  if c.refund then
    if commit and total > 0 and hits > 0 then
      redis.call('RPOP', c.key, math.min(hits, total))
      total = math.max(total - hits, 0)
    end
    c.at = total > 0 and log_time(c, 0) or 0
    return true
  end
  local admitted = total + hits <= c.max
  if is_to_be_banned(c, hits, admitted, total + hits >= c.max) then
    if commit then begin_ban(c) end
    return admitted
  end
  if commit and hits > 0 and (admitted or deny) then
    if c.is_spent_ban then redis.call('PEXPIREAT', c.key, 0) end
    local time = now
    if total > 0 then time = math.max(now, log_time(c, -1)) end
    local pushed = math.min(hits, LOG_MAX - total)
    local word = text(time)
    local left = pushed
    while left > 0 do
      local chunk = {}
      for i = 1, math.min(left, 1000) do chunk[i] = word end
      redis.call('RPUSH', c.key, unpack(chunk))
      left = left - #chunk
    end
    total = total + pushed
    if total > 0 then redis.call('PEXPIREAT', c.key, lives_until(time + c.window)) end
  end
  c.total = total
  if c.is_spent_ban and total == 0 then
    c.at = 0
  elseif admitted then
    c.at = total > 0 and log_time(c, 0) or 0
  elseif hits > c.max then
    c.at = total > 0 and log_time(c, -1) or 0
  else
    local room = c.max - hits
    c.at = total > room and log_time(c, total - room - 1) or 0
  end
  return admitted
end

local checks, at, at_key = ARGV[3], 1, 0
local function next_counter()
  at_key = at_key + 1
  local algorithm, refund, hits, max, window, denied, ban, when, burst, queue, hold, ends, group, after =
    struct.unpack(COUNTER, checks, at)
  at = after
  return {
    key = KEYS[at_key], algorithm = algorithm, refund = refund == 1, hits = hits, max = max, window = window,
    deny = denied > 0, always = denied == 2, ban = ban, when = when, burst = burst, queue = queue, hold = hold, ends = ends,
    aligned = ends == 1, role = group % 4, group = math.floor(group / 4),
  }
end

-- Reads the state and makes a step. A banned counter denies, and stays as it is.
local function run(c, hits, deny, commit)
  local kind, state = read[c.algorithm](c)
  c.kind, c.state, c.used = kind, state or {}, hits
  if kind == -1 then return false end
  if kind == 2 then return c.refund end
  return step[c.algorithm](c, kind, c.state, hits, deny, commit)
end

-- Peeks at a group, with the hits that earlier groups take from the same counters: whether it admits. A value that is not ours fails
-- its counter; the others are decided without it.
local function peek(counters, first, last, taken)
  local admits = true
  for i = first, last do
    local c = counters[i]
    if not c.refund then
      c.wanted = c.hits == 0 and 0 or c.hits + (taken[c.key] or 0)
      c.verdict = run(c, c.wanted, false, false)
      if c.kind == -1 then c.fate = NOT_OURS elseif not c.verdict then admits = false end
      taken[c.key] = (taken[c.key] or 0) + c.hits
    end
  end
  if not admits then
    for i = first, last do
      local c = counters[i]
      if not c.refund then taken[c.key] = taken[c.key] - c.hits end
    end
  end
  return admits
end

-- Applies the decision to a charge. `alone`: its hits do not depend on any other limit.
local function settle(c, admitted, admits, denies, alone)
  if c.always or (admitted and (admits or alone)) then
    c.fate = alone and CHARGED_ALONE or CHARGED
    run(c, c.hits, c.always or (alone and c.deny), true)
  elseif not c.verdict then
    if admitted or denies then
      c.fate = DENIED
      run(c, admitted and c.hits or c.wanted, false, true)
    else
      c.fate = OVER
    end
  else
    c.fate = LEFT
    run(c, 0, false, true)
  end
end

-- Charges all groups that can be charged, or none. The counters are in the order of the roles of their groups.
local function charge_jointly(counters, has_free_quota)
  local refunds = {}
  for place, c in ipairs(counters) do
    c.place = place
    if c.refund then refunds[#refunds + 1] = c end
  end
  -- In the order of the check.
  table.sort(refunds, function(a, b) return a.group < b.group or (a.group == b.group and a.place < b.place) end)
  for _, c in ipairs(refunds) do
    run(c, c.hits, false, true)
    c.fate = c.kind == -1 and NOT_OURS or GIVEN
  end
  local groups, taken, required_over, quotas, quotas_over = {}, {}, false, has_free_quota and 1 or 0, 0
  local first = 1
  while first <= #counters do
    local group, last = counters[first].group, first
    while counters[last + 1] and counters[last + 1].group == group do last = last + 1 end
    local g = { first = first, last = last, role = counters[first].role, admits = peek(counters, first, last, taken) }
    groups[#groups + 1] = g
    if g.role == REQUIRED and not g.admits then required_over = true end
    if g.role == QUOTA then
      quotas = quotas + 1
      if not g.admits then quotas_over = quotas_over + 1 end
    end
    first = last + 1
  end
  local all_quotas_over = quotas > 0 and quotas == quotas_over
  local admitted = not required_over and not all_quotas_over
  for _, admitting in ipairs({ true, false }) do
    for _, g in ipairs(groups) do
      if g.admits == admitting then
        local denies = not g.admits and (g.role == REQUIRED or (g.role == QUOTA and all_quotas_over))
        local alone = g.first == g.last and (g.role == OBSERVED or (admitted and not g.admits))
        for i = g.first, g.last do
          local c = counters[i]
          if not c.refund and c.fate ~= NOT_OURS then settle(c, admitted, g.admits, denies, alone) end
        end
      end
    end
  end
  return admitted
end

-- Makes a counter fresh, or only if a ban runs: whether it was not fresh. A value that is not ours stays.
local function reset(c, only_banned)
  local kind, state = read[c.algorithm](c)
  c.kind, c.state, c.used = kind, state or {}, 0
  local is_used = kind == 1 or (kind == 3 and state[1] > 0)
  if kind ~= 2 and (only_banned or not is_used) then return false end
  redis.call('PEXPIREAT', c.key, 0)
  return true
end

local reply = { now }
local function answer(c)
  reply[#reply + 1] = c.fate
  reply[#reply + 1] = c.kind
  reply[#reply + 1] = c.state[1] or 0
  reply[#reply + 1] = c.kind == 3 and (c.at or 0) or c.state[2] or 0
  reply[#reply + 1] = c.state[3] or 0
  reply[#reply + 1] = c.used
end

for _ = 1, tonumber(ARGV[2]) do
  local size, how, after = struct.unpack(CHECK, checks, at)
  at = after
  local counters, admitted = {}, true
  for i = 1, size do counters[i] = next_counter() end
  if how >= 3 then
    local c = counters[1]
    admitted = reset(c, how == 4)
    c.fate = c.kind == -1 and NOT_OURS or ALONE
  elseif how == 0 then
    local c = counters[1]
    admitted = run(c, c.hits, c.deny, true)
    c.fate = c.kind == -1 and NOT_OURS or ALONE
    if c.kind == -1 then admitted = true end
  else
    admitted = charge_jointly(counters, how == 2)
  end
  reply[#reply + 1] = admitted and 1 or 0
  for _, c in ipairs(counters) do answer(c) end
end
return struct.pack('<' .. string.rep('i8', #reply), unpack(reply))
