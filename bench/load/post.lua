-- wrk's script: posts the file named by the environment variable BENCH_BODY and prints what it measured as one line of JSON.
-- A thread that sees an answer that is not 200 keeps the first such body.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.body = file:read("*a")
file:close()

local threads = {}
function setup(thread)
  table.insert(threads, thread)
  thread:set("position", #threads - 1)
end

-- With a file of paths, one a line, in BENCH_PATHS they take turns. Threads start apart from each other.
local list = os.getenv("BENCH_PATHS")
if list ~= nil then
  local requests = {}
  function init()
    for path in io.lines(list) do
      table.insert(requests, wrk.format(nil, path))
    end
    position = position * 7919 % #requests
  end
  function request()
    position = position % #requests + 1
    return requests[position]
  end
end

bad = ""
function response(status, headers, body)
  if status ~= 200 and bad == "" then
    bad = status .. " " .. string.sub(body, 1, 200)
  end
end
-- Looking at every answer costs the load generator time: only while checking.
if os.getenv("BENCH_CHECK") == nil then
  response = nil
end

function done(summary, latency, requests)
  local first = ""
  for _, thread in ipairs(threads) do
    local seen = thread:get("bad")
    if seen ~= nil and seen ~= "" then
      first = seen
    end
  end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("\nBENCH {\"requests\":%d,\"seconds\":%.6f,\"errors\":%d,\"p50Ms\":%.4f,\"p90Ms\":%.4f,\"p99Ms\":%.4f}\n",
    summary.requests, summary.duration / 1e6, errors,
    latency:percentile(50) / 1000, latency:percentile(90) / 1000, latency:percentile(99) / 1000))
  if first ~= "" then
    io.write("FIRST BAD " .. first .. "\n")
  end
end
