"""How the pod of a Job reports its progress: a token good for that alone, the address, and what proves it. Pure.

Called by plan.stages and plan.evaluation; nothing of it is in a name or a cache key, because it changes no result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from plumbline_api import names
from plumbline_operator.observed import Key, Runtime, StatusEndpoint

__all__ = ["Reporting", "plan_reporting"]

_TOKEN_SECONDS: Final = 3600
"""For how long the token is good; the kubelet renews it when a fifth of that is left."""


@dataclass(frozen=True)
class Reporting:
    """What one Job reports to."""

    endpoint: StatusEndpoint
    namespace: str
    job: str

    @property
    def files(self) -> Mapping[str, str]:
        """What the Job's ConfigMap holds beside its run file, at names.MOUNT_RUN."""
        return {names.AUTHORITY_FILE: self.endpoint.authority}

    @property
    def volume(self) -> dict[str, Any]:
        """The volume with the token."""
        token = {
            "audience": names.status_audience(self.namespace, self.job),
            "expirationSeconds": _TOKEN_SECONDS,
            "path": names.TOKEN_FILE,
        }
        return {"name": names.VOLUME_STATUS, "projected": {"sources": [{"serviceAccountToken": token}]}}

    @property
    def host_aliases(self) -> list[dict[str, Any]]:
        """What the address stands for: nothing else of a pod may need a name server, or be allowed to ask one."""
        host = urlsplit(self.endpoint.url).hostname
        return [{"ip": address, "hostnames": [host]} for address in self.endpoint.addresses]

    def equip(self, container: Mapping[str, Any]) -> dict[str, Any]:
        """The container with the token, and told by Kubeflow's variables where to report."""
        told = {
            names.ENV_STATUS_URL: self.endpoint.url + names.status_path(self.namespace, self.job),
            names.ENV_STATUS_AUTHORITY: f"{names.MOUNT_RUN}/{names.AUTHORITY_FILE}",
            names.ENV_STATUS_TOKEN: f"{names.MOUNT_STATUS}/{names.TOKEN_FILE}",
        }
        mount = {"name": names.VOLUME_STATUS, "mountPath": names.MOUNT_STATUS, "readOnly": True}
        return {
            **container,
            "env": [*container["env"], *({"name": name, "value": value} for name, value in told.items())],
            "volumeMounts": [*container["volumeMounts"], mount],
        }


def plan_reporting(key: Key, job: str, runtime: Runtime) -> Reporting | None:
    """How this Job of an object reports; None where nobody listens."""
    endpoint = runtime.status_endpoint
    return None if endpoint is None else Reporting(endpoint, key.namespace, job)
