-- What wrk sends: GET, with another user's name in every request. Arguments after `--`:
--   ordered FIRST   user-00000001 and so on, each once
--   random SEED     sixteen hexadecimal digits, each once
--   known COUNT     drawn from the first COUNT of those in order
--   path COUNT      the same, but in the path, /users/NAME/
--   file FILE       drawn from its lines: in place of the name, Authorization, a tab and Cookie
-- It says on stderr that the first answers are there, and prints a line of JSON at the end. load.ts
-- reads both; autocannon.ts does the same.

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local how, number = args[1], tonumber(args[2])
  local format, random = string.format, math.random
  local line = 'GET ' .. wrk.path .. ' HTTP/1.1\r\nHost: ' .. wrk.host .. '\r\n'
  local head = line .. 'REMOTE_USER: '
  issued = 0 -- a global, for `done` to read

  local name
  if how == 'ordered' then
    name = function() return format('user-%08d', number + issued - 1) end
  elseif how == 'random' then
    math.randomseed(number)
    name = function() return format('%08x%08x', random(0, 0xffffffff), random(0, 0xffffffff)) end
  else
    name = function() return format('user-%08d', random(number)) end
  end

  if how == 'file' then
    head = line
    local all = {}
    for authorization, cookie in io.open(args[2]):read('*a'):gmatch('([^\t]+)\t([^\n]+)\n') do
      all[#all + 1] = 'Authorization: ' .. authorization .. '\r\nCookie: ' .. cookie
    end
    name = function() return all[random(#all)] end
  end

  local tail = '\r\n\r\n'
  if how == 'path' then
    head = 'GET /users/'
    tail = '/ HTTP/1.1\r\nHost: ' .. wrk.host .. tail
  end

  request = function()
    issued = issued + 1
    if issued == 300 then io.stderr:write('started\n') end -- more than there are connections
    return head .. name() .. tail
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"issued":%d,"failures":%d,"p50Ms":%.3f,"p99Ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, threads[1]:get('issued'),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
