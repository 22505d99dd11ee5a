-- A nonce that was never used starts a new attempt of what has failed.
-- Argo CD has no global of this name.
local os = require("os")

if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["plumbline.dev/retry"] = "argocd-" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
