-- wrk: POST one tools/call again and again.
-- BENCH_BODY      the body; with BENCH_UNIQUE=1 its 100000000 counts up, so that no two calls share an id
-- BENCH_HEADER_n  further headers, "Name: value", n from 1

wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
local number = 1
while os.getenv("BENCH_HEADER_" .. number) do
  local name, value = os.getenv("BENCH_HEADER_" .. number):match("^([^:]+): (.*)$")
  wrk.headers[name] = value
  number = number + 1
end

if os.getenv("BENCH_UNIQUE") == "1" then
  local before, after
  local id = 100000000
  function request()
    if before == nil then
      local whole = wrk.format()
      local first, last = whole:find("100000000", 1, true)
      before, after = whole:sub(1, first - 1), whole:sub(last + 1)
    end
    id = id + 1
    return before .. id .. after
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  local figures = {
    requests = summary.requests,
    microseconds = summary.duration,
    bytes = summary.bytes,
    p50 = latency:percentile(50),
    p99 = latency:percentile(99),
    socket_errors = errors.connect + errors.read + errors.write + errors.timeout,
    refused = errors.status,
  }
  local parts = {}
  for name, value in pairs(figures) do
    parts[#parts + 1] = string.format('"%s":%.1f', name, value)
  end
  io.write("FIGURES {" .. table.concat(parts, ",") .. "}\n")
end
