"""How a pod reaches the artifact store: a claim that is mounted, or an object store that its programs speak to.

Called by plan.pods, once for all kinds of pods; pure. An object store's client reads the variables that are set here by
itself, so the programs have no settings for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from plumbline_api import names
from plumbline_operator.observed import ObjectStore, Runtime

__all__ = ["store_volumes", "with_store"]

_CLAIM: Final = "store"
_AUTHORITY: Final = "store-authority"
_KEYS: Final[Mapping[str, bool]] = {
    "AWS_ACCESS_KEY_ID": True,
    "AWS_SECRET_ACCESS_KEY": True,
    "AWS_SESSION_TOKEN": False,
}
"""Keys of the Secret with credentials, which are also the variables that they become; whether a pod needs them."""


def store_volumes(runtime: Runtime) -> list[dict[str, Any]]:
    """What a pod mounts for the store."""
    if runtime.store_claim is not None:
        return [{"name": _CLAIM, "persistentVolumeClaim": {"claimName": runtime.store_claim}}]
    access = runtime.object_store
    items = [{"key": names.AUTHORITY_FILE, "path": names.AUTHORITY_FILE}]
    if access is not None and access.authority_config_map is not None:
        return [{"name": _AUTHORITY, "configMap": {"name": access.authority_config_map, "items": items}}]
    if access is not None and access.authority_secret is not None:
        return [{"name": _AUTHORITY, "secret": {"secretName": access.authority_secret, "items": items}}]
    return []


def with_store(container: Mapping[str, Any], runtime: Runtime) -> dict[str, Any]:
    """The container, able to read and write artifacts."""
    env, mounts = list(container["env"]), list(container["volumeMounts"])
    if runtime.store_claim is not None:
        mounts.append({"name": _CLAIM, "mountPath": urlsplit(runtime.store).path})
    elif runtime.object_store is not None:
        env += _variables(runtime.object_store)
        mounts += [
            {"name": volume["name"], "mountPath": names.MOUNT_STORE_AUTHORITY, "readOnly": True}
            for volume in store_volumes(runtime)
        ]
    return {**container, "env": env, "volumeMounts": mounts}


def _variables(access: ObjectStore) -> Iterator[dict[str, Any]]:
    if access.endpoint is not None:
        yield {"name": "AWS_ENDPOINT_URL_S3", "value": access.endpoint}
    if access.region is not None:
        yield {"name": "AWS_DEFAULT_REGION", "value": access.region}
    if access.authority_config_map is not None or access.authority_secret is not None:
        yield {"name": "AWS_CA_BUNDLE", "value": f"{names.MOUNT_STORE_AUTHORITY}/{names.AUTHORITY_FILE}"}
    if access.credentials is None:
        return
    # Nobody else is asked for credentials: the service that a cloud has for that is outside.
    yield {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"}
    for key, needed in _KEYS.items():
        source = {"name": access.credentials, "key": key} | ({} if needed else {"optional": True})
        yield {"name": key, "valueFrom": {"secretKeyRef": source}}
