-- What can be asked of a run now: a finished one cannot be paused, only a failed one can be retried.
local succeeded = "Unknown"
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Succeeded" then
      succeeded = condition.status
    end
  end
end

local suspended = obj.spec.suspend == true
local actions = {}
actions["retry"] = {disabled = succeeded ~= "False"}
actions["suspend"] = {disabled = suspended or succeeded ~= "Unknown"}
actions["resume"] = {disabled = not suspended}
return actions
