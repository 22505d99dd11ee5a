"""What a pod needs to sign what it makes, and to refuse what nobody it trusts has signed. Pure.

Called by plan.pods for every pod that reads artifacts, and by plan.stages for those that make them. The key is a file
that is mounted; trusted keys are public, and stand in the pod itself.
"""

from collections.abc import Mapping
from typing import Any, Final

from plumbline_api import names
from plumbline_operator.observed import Runtime

__all__ = ["signing_volumes", "with_signing_key", "with_trust"]

_VOLUME: Final = "signing"


def with_trust(container: Mapping[str, Any], runtime: Runtime) -> dict[str, Any]:
    """The container, told whose signatures count, where any are asked for."""
    told = [] if runtime.trust is None else [{"name": names.ENV_TRUST, "value": runtime.trust}]
    return {**container, "env": [*container["env"], *told]}


def with_signing_key(container: Mapping[str, Any]) -> dict[str, Any]:
    """The container with the key; its pod has `signing_volumes`."""
    path = f"{names.MOUNT_SIGNING}/{names.SIGNING_KEY_FILE}"
    mount = {"name": _VOLUME, "mountPath": names.MOUNT_SIGNING, "readOnly": True}
    return {
        **container,
        "env": [*container["env"], {"name": names.ENV_SIGNING_KEY, "value": path}],
        "volumeMounts": [*container["volumeMounts"], mount],
    }


def signing_volumes(secret: str) -> list[dict[str, Any]]:
    """What a pod mounts to sign with the key of a Secret; nothing where no Secret is named."""
    if not secret:
        return []
    items = [{"key": names.SIGNING_KEY_FILE, "path": names.SIGNING_KEY_FILE}]
    # For nobody but the pod's own group, which is that of its programs.
    return [{"name": _VOLUME, "secret": {"secretName": secret, "items": items, "defaultMode": 0o440}}]
