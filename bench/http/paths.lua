-- Asks for PATHS0, PATHS1, … up to COUNT of them, in turn, with HEADERS ("Name: value", separated by "|").
local requests = {}
local at = 0

function init()
  local headers = {}
  for line in string.gmatch(os.getenv("HEADERS") or "", "[^|]+") do
    local name, value = string.match(line, "^(.-): (.*)$")
    headers[name] = value
  end
  for number = 0, tonumber(os.getenv("COUNT")) - 1 do
    requests[number + 1] = wrk.format("GET", os.getenv("PATHS") .. number, headers)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
