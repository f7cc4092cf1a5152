-- Asks for pages at random over kept-alive connections: wrk -s http_load.lua URL -- BODIES SEED
-- BODIES holds one request body per line. The result is one line of JSON, with how often each latency was seen,
-- in microseconds.
local requests = {}

function init(args)
  math.randomseed(tonumber(args[2]))
  local headers = {
    ["Content-Type"] = "application/json",
    ["Accept"] = "application/graphql-response+json, application/json;q=0.9",
  }
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", "/graphql", headers, body)
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors, seen = summary.errors, {}
  for i = 1, #latency do
    seen[i] = string.format("[%d,%d]", latency(i))
  end
  io.write(string.format(
    '{"requests":%d,"micros":%d,"failed":%d,"latencies":[%s]}\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    table.concat(seen, ",")
  ))
end
