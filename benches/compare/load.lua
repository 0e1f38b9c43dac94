-- What wrk sends, and its result as one line: name value name value …
--
-- With an argument N (after `--`), requests go to the hosts t0.test … t(N-1).test in turn.

function init(args)
  local tenants = tonumber(args[1])
  if not tenants then return end
  local requests, next = {}, 0
  for index = 1, tenants do
    requests[index] = wrk.format("GET", "/", { Host = "t" .. (index - 1) .. ".test" })
  end
  request = function()
    next = next % tenants + 1
    return requests[next]
  end
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format(
    "result requests %d us %d p50_us %d p99_us %d max_us %d failed %d",
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max, failed))
end
