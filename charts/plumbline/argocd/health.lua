-- Health of AlignmentRun, RedTeamSuite, EvalGate and GuardedInference, from their conditions alone.
-- Argo CD runs this without the string, math and io libraries.
local health = {status = "Progressing", message = "waiting for the operator"}

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted"
  return health
end

local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
if status.observedGeneration ~= obj.metadata.generation then
  health.message = "waiting until the operator has seen this generation"
  return health
end

local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end

local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end

local ready = found["Ready"]
if ready ~= nil and ready.reason ~= nil then
  health.message = ready.reason
  if ready.message ~= nil and ready.message ~= "" then
    health.message = ready.reason .. ": " .. ready.message
  end
end

if holds("Stalled") then
  health.status = "Degraded"
elseif holds("Suspended") then
  health.status = "Suspended"
elseif holds("Ready") and not holds("Reconciling") then
  health.status = "Healthy"
end
return health
