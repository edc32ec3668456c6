-- wrk script: small GETs and POSTs in turn over kept connections; one line of totals at the end.
local body = string.rep("y", 200)
local requests = {}
local turn = 0

function init()
  requests[0] = wrk.format("GET", "/agent/commands?since=42")
  requests[1] = wrk.format("POST", "/agent/status", {["Content-Type"] = "application/json"}, body)
end

function request()
  turn = 1 - turn
  return requests[turn]
end

function done(summary, latency, _)
  local e = summary.errors
  print(string.format("BENCH requests=%d duration_us=%d connect=%d read=%d write=%d status=%d timeout=%d",
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
end
