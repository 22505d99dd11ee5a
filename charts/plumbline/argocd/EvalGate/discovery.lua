-- A gate is evaluated again only where its verdict is there and is not Passed.
local verdict = nil
if obj.status ~= nil then
  verdict = obj.status.verdict
end

local actions = {}
actions["retry"] = {disabled = verdict == nil or verdict == "Passed"}
return actions
