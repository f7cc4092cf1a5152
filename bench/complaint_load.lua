-- Submits complaints, each once, over kept-alive connections: wrk -s complaint_load.lua URL -- TOKENS RUN
-- TOKENS holds one access token per line. The result is one line of JSON; latencies in microseconds.
local tokens, count, refused = {}, 0, 0
local run

local BODY = '{"query":"mutation Submit($input: SubmitComplaintInput!) { submitComplaint(input: $input) '
  .. '{ complaint { number } queryCode userErrors { code } } }","variables":{"input":{"idempotencyKey":"%s-%08d",'
  .. '"kind":"COMPLAINT","text":"鼓楼区东街口第%d号灯杆的路灯不亮，已经报修三次，没有人来。",'
  .. '"divisionCode":"350102","contact":"PHONE_ONLY","phone":"13800138000",'
  .. '"point":{"longitude":%.5f,"latitude":26.08710,"system":"WGS84"}}}}'

function init(args)
  for token in io.lines(args[1]) do
    tokens[#tokens + 1] = token
  end
  run = args[2]
end

function request()
  count = count + 1
  local headers = {
    ["Content-Type"] = "application/json",
    ["Accept"] = "application/graphql-response+json",
    ["Authorization"] = "Bearer " .. tokens[count % #tokens + 1],
  }
  local place = 119.2 + count % 1000 / 5000
  return wrk.format("POST", "/graphql", headers, string.format(BODY, run, count, count, place))
end

function response(status, headers, body)
  if status ~= 200 or not string.find(body, '"number"', 1, true) then
    if refused == 0 then io.stderr:write(string.sub(body, 1, 300), "\n") end
    refused = refused + 1
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"failed":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)
  ))
end
