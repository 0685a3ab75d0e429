#!lua flags=no-writes
-- Reads values of at most so many bytes: KEYS are names, ARGV the bytes of each. The reply has for each 0 and its value, 1 if there is none, or 2 if
-- it is not ours: of another type, or too long.

local reply = {}
for place, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if value == false then
    reply[place] = {1}
  elseif type(value) == 'string' and #value <= tonumber(ARGV[place]) then
    reply[place] = {0, value}
  elseif type(value) == 'table' and value.err and string.sub(value.err, 1, 9) ~= 'WRONGTYPE' then
    return value
  else
    reply[place] = {2}
  end
end
return reply
