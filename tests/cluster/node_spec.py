"""What a pod of the API server asks for, put so that local mode can plan its containers. Pure.

The API server fills in defaults that local mode has no use for; variables may come from fields of the pod. What a node
of processes cannot give is refused by name, never passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.client import Object

__all__ = ["NodeProbe", "Unable", "containers_in", "loopback_ports", "probe_of", "probed_ports", "single_container"]

_FIELDS: Final = ("name", "command", "args", "ports", "volumeMounts")
_LIMITS: Final = ("cpu", "memory")


class Unable(Exception):
    """The pod wants something that this node does not have, or not yet."""


@dataclass(frozen=True)
class NodeProbe:
    """An HTTP request to a pod's address."""

    path: str
    port: int
    delay: float
    period: float
    failures: int
    timeout: float


def containers_in(spec: Object) -> Iterator[Object]:
    """All containers of a pod, those of its start first."""
    yield from spec.get("initContainers") or ()
    yield from spec["containers"]


def probed_ports(spec: Object) -> dict[str, int]:
    """Declared ports that a probe names: what listens there listens at the pod's address."""
    probes = [probe for one in containers_in(spec) for probe in _probes(one)]
    wanted = {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe}
    return {name: number for name, number in _declared(spec).items() if name in wanted or number in wanted}


def loopback_ports(spec: Object) -> list[str]:
    """All other declared ports: of programs that only their own pod reaches, beside those of every other pod."""
    return sorted(_declared(spec).keys() - probed_ports(spec).keys())


def probe_of(container: Object, kind: str, spec: Object) -> NodeProbe | None:
    """A probe of a container; raises Unable for one that is no HTTP request."""
    probe = container.get(kind)
    if probe is None:
        return None
    if "httpGet" not in probe:
        raise Unable(f"container {container['name']} has a {kind} that is no HTTP request")
    request = probe["httpGet"]
    port = request["port"]
    return NodeProbe(
        path=request.get("path", "/"),
        port=port if isinstance(port, int) else _declared(spec)[port],
        delay=float(probe.get("initialDelaySeconds", 0)),
        period=float(probe.get("periodSeconds", 10)),
        failures=int(probe.get("failureThreshold", 3)),
        timeout=float(probe.get("timeoutSeconds", 1)),
    )


def single_container(container: Object, pod: Object) -> Mapping[str, Any]:
    """The spec of a pod with this container alone, as local mode understands it."""
    if container.get("lifecycle") or container.get("livenessProbe"):
        raise Unable(f"container {container['name']} has hooks or a liveness probe")
    limits = (container.get("resources") or {}).get("limits") or {}
    made = {field: container[field] for field in _FIELDS if container.get(field)}
    made["env"] = [_variable(one, pod) for one in container.get("env") or ()]
    made["resources"] = {"limits": {name: limits[name] for name in _LIMITS if name in limits}}
    return {"containers": [made], "terminationGracePeriodSeconds": pod["spec"].get("terminationGracePeriodSeconds", 30)}


def _probes(container: Object) -> Iterator[Object]:
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        if kind in container:
            yield container[kind]


def _declared(spec: Object) -> dict[str, int]:
    return {
        port.get("name") or str(port["containerPort"]): port["containerPort"]
        for one in containers_in(spec)
        for port in one.get("ports") or ()
    }


def _variable(entry: Object, pod: Object) -> Object:
    if "valueFrom" not in entry:
        return {"name": entry["name"], "value": entry.get("value", "")}
    source = entry["valueFrom"].get("fieldRef")
    if source is None:
        raise Unable(f"variable {entry['name']} comes from {', '.join(entry['valueFrom'])}")
    return {"name": entry["name"], "value": _field(source["fieldPath"], pod)}


def _field(path: str, pod: Object) -> str:
    """A field of the pod, as the downward API names it."""
    if path.endswith("']"):
        block, _, key = path.partition("['")
        return str((pod["metadata"].get(block.removeprefix("metadata.")) or {}).get(key.removesuffix("']"), ""))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, dict) else ""
    return str(found)
