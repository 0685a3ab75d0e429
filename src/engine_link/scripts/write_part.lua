#!lua
-- Writes a part if nobody has written it since it was read. KEYS are the table of versions and the part; ARGV the place of the part from 1, the
-- version that was read, the new one, the text, when both keys expire in milliseconds since the epoch, and the parts there are. A version has 16
-- characters; dashes: there is none. The reply is 1, or 0 if the version is another one.

local place, expected, version = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local length = 16 * tonumber(ARGV[6])
local table = redis.pcall('GET', KEYS[1])
if type(table) == 'table' and table.err and string.sub(table.err, 1, 9) ~= 'WRONGTYPE' then return table end
if type(table) ~= 'string' or #table ~= length then table = string.rep('-', length) end
local from = 16 * (place - 1)
if string.sub(table, from + 1, from + 16) ~= expected then return 0 end
redis.call('SET', KEYS[2], ARGV[4], 'PXAT', ARGV[5])
redis.call('SET', KEYS[1], string.sub(table, 1, from) .. version .. string.sub(table, from + 17), 'PXAT', ARGV[5])
return 1
