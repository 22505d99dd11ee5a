"""The volumes of a pod as folders: a kubelet's part, with the node's own rights at the API server."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.cluster.client import CONFIG_MAPS, KubeClient, Object, Resource
from tests.cluster.node_spec import Unable

__all__ = ["mount_volumes"]

CLAIMS = Resource("", "v1", "persistentvolumeclaims")
VOLUMES = Resource("", "v1", "persistentvolumes", namespaced=False)
Files = AsyncIterator[tuple[str, str]]


async def mount_volumes(kube: KubeClient, pod: Object, folder: Path) -> Mapping[str, Path]:
    """A folder for each volume, with the files in it.

    Raises:
        Unable: What a volume needs is not there (yet), or no process can have it.
    """
    made = {}
    for volume in pod["spec"].get("volumes") or ():
        name, kind = volume["name"], next(key for key in volume if key != "name")
        if kind == "persistentVolumeClaim":
            made[name] = await _claimed(kube, pod, volume[kind]["claimName"])
            continue
        place = made[name] = folder / name
        place.mkdir(parents=True, exist_ok=True)
        async for path, text in _files(kube, pod, kind, volume[kind]):
            target = place / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    return made


async def _files(kube: KubeClient, pod: Object, kind: str, source: Object) -> Files:
    if kind == "emptyDir":
        return
    if kind == "projected":
        for part in source["sources"]:
            ((inner, wanted),) = part.items()
            async for file in _files(kube, pod, inner, wanted):
                yield file
    elif kind == "serviceAccountToken":
        yield source["path"], await _token(kube, pod, source)
    elif kind in ("configMap", "secret"):
        async for file in _keys(kube, pod, kind, source):
            yield file
    else:
        raise Unable(f"a volume of kind {kind}")


async def _keys(kube: KubeClient, pod: Object, kind: str, source: Object) -> Files:
    """The keys of a ConfigMap, all of them or those that are chosen."""
    name = source.get("name") or source["secretName"]
    if kind == "secret":
        raise Unable(f"Secret {name} as a volume")
    found = await kube.find(CONFIG_MAPS, name, pod["metadata"]["namespace"])
    if found is None:
        if source.get("optional"):
            return
        raise Unable(f'configmap "{name}" not found')
    data = found.get("data") or {}
    for item in source.get("items") or [{"key": key, "path": key} for key in data]:
        yield item["path"], data[item["key"]]


async def _token(kube: KubeClient, pod: Object, source: Object) -> str:
    """A token of the pod's service account, for the audience asked for and bound to the pod. It is not renewed."""
    metadata, account = pod["metadata"], pod["spec"].get("serviceAccountName", "default")
    bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
    wanted: dict[str, Any] = {"expirationSeconds": source.get("expirationSeconds", 3600), "boundObjectRef": bound}
    if "audience" in source:
        wanted["audiences"] = [source["audience"]]
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
    answer = await kube.call("POST", path, {"kind": "TokenRequest", "spec": wanted})
    return str(answer["status"]["token"])


async def _claimed(kube: KubeClient, pod: Object, claim: str) -> Path:
    """The folder of the volume that a claim is bound to."""
    found = await kube.get(CLAIMS, claim, pod["metadata"]["namespace"])
    volume = await kube.get(VOLUMES, found["spec"]["volumeName"])
    host = volume["spec"].get("hostPath")
    if host is None:
        raise Unable(f"claim {claim} is bound to a volume that is no folder of this machine")
    return Path(host["path"])
