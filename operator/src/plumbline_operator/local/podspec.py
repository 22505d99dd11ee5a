"""From a pod template (a Kubernetes manifest) to a PodPlan: paths, ports and variables become those of this machine.

Called by `attempts`; pure, but for looking up programs on PATH. Folders and ports are chosen by the caller.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plumbline_api import names
from plumbline_api.reasons import Reason
from plumbline_api.scalars import parse_quantity
from plumbline_operator.local.offered import Unplannable, check_pod
from plumbline_operator.local.podplan import ContainerPlan, PodPlan, Probe, progress_file, termination_file
from plumbline_operator.local.processes import ATTEMPT_VARIABLE
from plumbline_operator.observed import Problem

__all__ = [
    "Place",
    "containers_of",
    "cpu_request",
    "declared_ports",
    "expand",
    "nodes_of",
    "plan_pod",
    "plan_probe",
    "replace_paths",
    "together",
]

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a pod runs."""

    folder: Path
    """Of the attempt."""
    volumes: Mapping[str, Path]
    ports: Mapping[str, int]
    environment: Mapping[str, str]
    """What every container starts from; PATH finds the programs."""
    rank: int = 0
    """Which node this is of several; all of them are this machine."""
    host: str = "127.0.0.1"
    """Where programs listen that others reach."""


def plan_pod(
    spec: Manifest, place: Place, *, deadline: float | None, memory_period: float, only: str | None = None
) -> PodPlan:
    """The plan of a pod, or of the one container named by `only`, then nobody's sidecar; raises Unplannable."""
    check_pod(spec)
    sidecars = spec.get("initContainers", ())
    for container in sidecars:
        if not _is_sidecar(container):
            raise _unsupported(container["name"], "a run before all others (an init container that is no sidecar)")
    chosen = [container for container in containers_of(spec) if only in (None, container["name"])]
    plans = [_plan_container(container, spec, place) for container in chosen]
    if only is not None:
        plans = [replace(plan, sidecar=False) for plan in plans]
    grace = float(spec.get("terminationGracePeriodSeconds", 30))
    return PodPlan(tuple(plans), grace=grace, deadline=deadline, memory_period=memory_period)


def nodes_of(job: Manifest) -> int:
    """How many pods of a Job work at the same time."""
    return int(job.get("parallelism", 1)) if job.get("completionMode") == "Indexed" else 1


def together(plans: Sequence[PodPlan]) -> PodPlan:
    """The plans of several nodes, the leading one first, as one of processes that begin and end together."""
    return replace(plans[0], containers=tuple(one for plan in plans for one in plan.containers), led=True)


def declared_ports(spec: Manifest) -> tuple[str, ...]:
    """Names of the ports that the containers of a pod declare."""
    return tuple(port["name"] for container in containers_of(spec) for port in container.get("ports", ()))


def cpu_request(spec: Manifest) -> float:
    """Cores that the containers of a pod ask for together."""
    return float(sum(parse_quantity(_requests(container).get("cpu", "0")) for container in containers_of(spec)))


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace $(NAME) as Kubernetes does: unknown names stay, $$ is a plain dollar sign before a parenthesis."""

    def value(found: re.Match[str]) -> str:
        if found.group(0).startswith("$$"):
            return found.group(0)[1:]
        return variables.get(found.group(1), found.group(0))

    return re.sub(r"\$?\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, text)


def containers_of(spec: Manifest) -> list[Manifest]:
    """The containers of a pod, sidecars first."""
    return [*spec.get("initContainers", ()), *spec["containers"]]


def replace_paths(text: str, mounts: Sequence[tuple[str, Path]]) -> str:
    """Put local folders in the place of mount paths, wherever one stands as a whole path or as its beginning."""
    if not mounts:
        return text
    folders = {mount.rstrip("/"): str(folder) for mount, folder in mounts}
    longest_first = "|".join(re.escape(mount) for mount in sorted(folders, key=len, reverse=True))
    return re.sub(rf"(?<![\w.-])({longest_first})(?![\w.-])", lambda found: folders[found.group(0)], text)


def _plan_container(container: Manifest, spec: Manifest, place: Place) -> ContainerPlan:
    name = container["name"]
    mounts = [(mount["mountPath"], _volume(mount, name, place)) for mount in container.get("volumeMounts", ())]
    env = _environment(container, place, mounts)
    argv = [*container["command"], *container.get("args", ())]
    argv = [_localise(expand(word, env), mounts) for word in argv]
    limit = container.get("resources", {}).get("limits", {}).get("memory")
    startup = container.get("startupProbe")
    return ContainerPlan(
        name=_local_name(name, place),
        argv=(_program(argv[0], env["PATH"]), *argv[1:]),
        env=env,
        sidecar=_is_sidecar(container),
        startup=None if startup is None else plan_probe(startup, container, spec, place.ports),
        memory=None if limit is None else int(parse_quantity(limit)),
    )


def _localise(text: str, mounts: Sequence[tuple[str, Path]]) -> str:
    """Put local folders in the place of mount paths.

    A folder of this machine may itself lie in /tmp, so a mount there counts only where the whole text names it.
    """
    for mount, folder in mounts:
        if text == mount == names.MOUNT_SCRATCH:
            return str(folder)
    return replace_paths(text, [entry for entry in mounts if entry[0] != names.MOUNT_SCRATCH])


def plan_probe(probe: Manifest, container: Manifest, spec: Manifest, ports: Mapping[str, int]) -> Probe:
    """A probe of a container, at the port that it (or, by number, its pod) has on this machine."""
    request = probe.get("httpGet")
    if request is None:
        raise _unsupported(container["name"], "a probe that is not httpGet")
    wanted = request["port"]
    declared = [port for one in containers_of(spec) for port in one.get("ports", ())]
    by_number = {port["containerPort"]: port.get("name", "") for port in declared}
    port = ports.get(by_number.get(wanted, "") if isinstance(wanted, int) else wanted)
    if port is None:
        raise _unsupported(container["name"], f"a probe of port {wanted}, which no container declares by name")
    return Probe(
        path=request.get("path", "/"),
        port=port,
        period=float(probe.get("periodSeconds", 10)),
        failures=int(probe.get("failureThreshold", 3)),
        timeout=float(probe.get("timeoutSeconds", 1)),
    )


def _local_name(name: str, place: Place) -> str:
    return f"{name}-{place.rank}" if place.rank else name


def _environment(container: Manifest, place: Place, mounts: Sequence[tuple[str, Path]]) -> dict[str, str]:
    name = _local_name(container["name"], place)
    given = {names.port_variable(port): str(number) for port, number in place.ports.items()}
    given[names.ENV_HOST] = place.host
    declared = {entry["name"] for entry in container.get("env", ())}
    here = {names.ENV_MASTER_ADDRESS: "127.0.0.1", names.ENV_NODE_RANK: str(place.rank)}
    given |= {variable: value for variable, value in here.items() if variable in declared}
    env = {**place.environment, **given}
    for entry in container.get("env", ()):
        if entry["name"] in given:
            continue
        if "valueFrom" in entry:
            raise _unsupported(name, f"the variable {entry['name']} with valueFrom")
        env[entry["name"]] = _localise(expand(entry.get("value", ""), env), mounts)
    return {
        **env,
        names.ENV_TERMINATION_LOG: str(termination_file(place.folder, name)),
        names.ENV_PROGRESS: str(progress_file(place.folder, name)),
        names.ENV_WORK_STAYS: "yes",
        ATTEMPT_VARIABLE: str(place.folder),
    }


def _volume(mount: Manifest, container: str, place: Place) -> Path:
    folder = place.volumes.get(mount["name"])
    if folder is None:
        raise _unsupported(container, f"the volume {mount['name']}")
    return folder / mount["subPath"] if "subPath" in mount else folder


def _program(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        looked = path.split(os.pathsep)[0]
        message = f"program {name} is not installed (looked in {looked} and along PATH); install it, then run again"
        raise Unplannable(Problem(Reason.BAD_CONFIGURATION, message))
    return found


def _is_sidecar(container: Manifest) -> bool:
    return bool(container.get("restartPolicy") == "Always")


def _requests(container: Manifest) -> Mapping[str, str]:
    resources = container.get("resources", {})
    return {**resources.get("limits", {}), **resources.get("requests", {})}


def _unsupported(container: str, what: str) -> Unplannable:
    return Unplannable.because(f"container {container}", what)
