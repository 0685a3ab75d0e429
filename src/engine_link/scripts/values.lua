#!lua
-- What the scripts have in common; each of them follows it.

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function text(number) return string.format('%.0f', number) end

-- The quotient and remainder of a * b / c, exact for c below 2^52.
local function muldiv(a, b, c)
  local product = a * b
  if product < 9007199254740992 then
    local rest = math.fmod(product, c)
    return (product - rest) / c, rest
  end
  local part = math.fmod(a, c)
  local whole = (a - part) / c
  local quotient, rest, bit = 0, 0, 1
  while bit * 2 <= b do bit = bit * 2 end
  while bit >= 1 do
    quotient, rest = quotient * 2, rest * 2
    if rest >= c then quotient, rest = quotient + 1, rest - c end
    if b >= bit then
      b = b - bit
      quotient, rest = quotient + whole, rest + part
      if rest >= c then quotient, rest = quotient + 1, rest - c end
    end
    bit = bit / 2
  end
  return quotient, rest
end

-- The key lives until a second after it has become irrelevant, at most for a hundred years.
local function lives_until(at) return text(math.floor(math.min(at, now + 3153600000000000) / 1000) + 1000) end

-- The numbers of a value, `count` or `other` of them; nil: it is not ours.
local function numbers(value, count, other)
  local found = {}
  for word in string.gmatch(value, '[^ ]+') do
    if not string.match(word, '^%d+$') or #word > 16 then return nil end
    found[#found + 1] = tonumber(word)
  end
  if #found ~= count and #found ~= other then return nil end
  return found
end

