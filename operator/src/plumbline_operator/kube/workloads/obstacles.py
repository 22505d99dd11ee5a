"""What keeps a pod from beginning its work, as far as its status shows it. Pure; called by states.

The status shows what the scheduler and the kubelet wrote into it. Why a pod was never made (a quota, an admission
policy) and which volume cannot be mounted stand in events only: for these the message says where to look. Messages
hold no counts and no times, which change with every look and would be a write of our status each.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from plumbline_api.names import CONTAINER_MODEL
from plumbline_api.reasons import Reason
from plumbline_api.scalars import parse_quantity
from plumbline_operator.exits import FATAL_EXIT_CODES
from plumbline_operator.kube.workloads.podends import explain_end, last_end, log_of, short
from plumbline_operator.kube.workloads.rawobjects import Raw, condition, containers_of, is_true, moment, name_of, part
from plumbline_operator.observed import Problem

__all__ = ["PATIENCE", "Obstacle", "find_ailing_sidecar", "find_obstacle", "late_from"]

PATIENCE: Final = timedelta(seconds=60)
"""What takes this long without a word is worth telling, such as pods that are not made."""
_RESTARTS: Final = 3
"""A container that ends this often before it is ready will do so again."""
SET_UP: Final = timedelta(minutes=5)
"""How long a pod may be set up on its node before that is worth a word: images of gigabytes take minutes."""


@dataclass(frozen=True)
class Obstacle:
    """A problem, and whether it will stay."""

    problem: Problem
    hopeless: bool = False


def find_obstacle(pod: Raw, now: datetime) -> Obstacle | None:
    """What keeps a pod from its work; None where its status names nothing."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return Obstacle(_explain_scheduling(pod, scheduled))
    for container in containers_of(pod):
        found = _container_obstacle(pod, container)
        if found is not None:
            return found
    return _not_set_up(pod, scheduled, now)


def find_ailing_sidecar(pod: Raw) -> Obstacle | None:
    """A sidecar that has ended beside a worker at work: the kubelet starts it again, as often as it takes."""
    for sidecar in part(pod, "status").get("initContainerStatuses") or ():
        found = _explain_restarts(pod, sidecar)
        if found is not None and part(pod, "status").get("phase") == "Running":
            return found
    return None


def late_from(pod: Raw, since: datetime | None) -> datetime | None:
    """From when on a pod that has not begun is late: since then, or since its model has been fetched.

    None while that is at work, which takes as long as the model is large; a store that is silent ends it.
    """
    fetching = next((one for one in containers_of(pod) if one.get("name") == CONTAINER_MODEL), {})
    if "running" in part(fetching, "state"):
        return None
    return moment(part(fetching, "state", "terminated").get("finishedAt")) or since


def _explain_scheduling(pod: Raw, scheduled: Raw) -> Problem:
    text, where = str(scheduled.get("message", "")), f"pod {name_of(pod)}"
    if scheduled.get("reason") == "SchedulingGated":
        return Problem(Reason.QUEUE_PENDING, f"{where} waits for whoever set its scheduling gates to admit it")
    if "persistentvolumeclaim" in text.lower():
        return Problem(Reason.VOLUME_MISSING, f"{where} has no volume: {short(text)}; create or bind the claim")
    facts = [words for found, words in _SCHEDULING if re.search(found, text)]
    facts += [_explain_taint(key) for key in sorted(set(re.findall(r"untolerated taint\(?s?\)? \{([^:}]+)", text)))]
    lacking = sorted({found.rstrip(".") for found in re.findall(r"Insufficient ([\w./-]+)", text)})
    facts += [f"no node has enough {resource} left ({_wanted(pod, resource)} asked for)" for resource in lacking]
    fact = ", ".join(facts) or short(text.partition(" preemption:")[0])
    remedy = "add or free such nodes, or change spec.compute"
    return Problem(Reason.UNSCHEDULABLE, f"no node can take {where}: {fact}; {remedy}")


_SCHEDULING: Final = (
    (r"node affinity/selector", "nodes do not match spec.compute.nodeSelector"),
    (r"no nodes available", "there are no nodes"),
)


def _explain_taint(key: str) -> str:
    if key.startswith("node.kubernetes.io/"):
        return f"nodes cannot take pods at the moment ({key.partition('/')[2]})"
    return f"nodes have the taint {key}, which spec.compute.tolerations does not name"


def _wanted(pod: Raw, resource: str) -> str:
    """How much of a resource the containers of a pod ask for together."""
    spec = part(pod, "spec")
    given = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    total = sum(parse_quantity(str(part(one, "resources", "requests").get(resource, "0"))) for one in given)
    return f"{total:f}" if total else "some"


def _container_obstacle(pod: Raw, container: Raw) -> Obstacle | None:
    waiting = part(container, "state", "waiting")
    explain = _WAITING.get(str(waiting.get("reason", "")))
    if explain is not None:
        return explain(pod, container, str(waiting.get("message", "")))
    return None if container.get("ready") else _explain_restarts(pod, container)


def _explain_restarts(pod: Raw, container: Raw) -> Obstacle | None:
    ended, restarts = last_end(container), int(container.get("restartCount") or 0)
    if ended is None or not restarts:
        return None
    if container.get("name") == CONTAINER_MODEL and not ended.get("exitCode"):
        return None  # It has done what it is for, and is asked again where its pod is set up again.
    reason, fact = explain_end(pod, container, ended)
    hopeless = ended.get("exitCode") in FATAL_EXIT_CODES or restarts >= _RESTARTS
    log = log_of(pod, str(container.get("name")))
    return Obstacle(Problem(reason, f"{fact}, and is started again; log: {log}"), hopeless)


def _explain_image(pod: Raw, container: Raw, text: str) -> Obstacle:
    name = container.get("name")
    image = next((one.get("image") for one in _declared(pod) if one.get("name") == name), container.get("image"))
    said = _NAMES.sub("", text.replace(str(image).partition("@")[0], ""))
    cause = next((words for found, words in _PULLING if re.search(found, said, re.IGNORECASE)), _PULLING_UNKNOWN)
    fact = f"image {image} of container {name} cannot be pulled for pod {name_of(pod)}: {cause}"
    invalid = part(container, "state", "waiting").get("reason") == "InvalidImageName"
    return Obstacle(Problem(Reason.IMAGE_PULL_FAILED, fact), hopeless=invalid)


_NAMES: Final = re.compile(r"https?://\S+|sha256:[0-9a-f]+")
"""What may hold any word and any number, and says nothing of the cause."""
_PULLING: Final = (
    (r"invalid reference|couldn.t parse image|failed to apply default image tag", "the reference is no image's name"),
    (
        r"unauthorized|denied|forbidden|authentication required|no basic auth|\b40[13]\b",
        "the registry refuses; check the image pull secrets",
    ),
    (
        r"not found|manifest unknown|does not exist|not present",
        "there is no such image; push it, or correct the operator's settings",
    ),
    (r"x509|certificate|tls", "the registry's certificate is not trusted; give the nodes its authority"),
    (
        r"no such host|timeout|refused|unreachable|dial|EOF|reset",
        "the registry cannot be reached; check its name and the network",
    ),
    (r"no space", "the node's disk is full; free space on it"),
)
_PULLING_UNKNOWN: Final = "`kubectl describe pod` says why"


def _declared(pod: Raw) -> tuple[Raw, ...]:
    spec = part(pod, "spec")
    return (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))


def _explain_config(pod: Raw, container: Raw, text: str) -> Obstacle:
    where = f"container {container.get('name')} of pod {name_of(pod)}"
    absent = re.search(r"(secret|configmap) \"?([\w./-]+)\"? not found", text, re.IGNORECASE)
    keyless = re.search(r"couldn't find key (\S+) in (secret|configmap) (\S+)", text, re.IGNORECASE)
    if absent is not None:
        kind, lack = absent[1].lower(), f"{absent[2]} does not exist; create it"
    elif keyless is not None:
        kind, lack = keyless[2].lower(), f"{keyless[3]} has no key {keyless[1]}; add it"
    else:
        return Obstacle(Problem(Reason.BAD_CONFIGURATION, f"{where} cannot be created: {short(text)}"))
    if kind == "secret":
        return Obstacle(Problem(Reason.SECRET_MISSING, f"{where} needs a Secret, but {lack}"))
    return Obstacle(Problem(Reason.NOT_FOUND, f"{where} needs a ConfigMap, but {lack}"))


def _explain_creation(pod: Raw, container: Raw, text: str) -> Obstacle:
    fact = f"container {container.get('name')} of pod {name_of(pod)} cannot be started: {short(text)}"
    return Obstacle(Problem(Reason.BAD_CONFIGURATION, f"{fact}; check the image and the node"))


_WAITING: Final[Mapping[str, Callable[[Raw, Raw, str], Obstacle]]] = {
    "ErrImagePull": _explain_image,
    "ImagePullBackOff": _explain_image,
    "InvalidImageName": _explain_image,
    "ErrImageNeverPull": _explain_image,
    "ImageInspectError": _explain_image,
    "RegistryUnavailable": _explain_image,
    "SignatureValidationFailed": _explain_image,
    "CreateContainerConfigError": _explain_config,
    "CreateContainerError": _explain_creation,
    "RunContainerError": _explain_creation,
}
"""By the reason that the kubelet gives for a container that waits."""


def _not_set_up(pod: Raw, scheduled: Raw | None, now: datetime) -> Obstacle | None:
    """A pod on a node that stays without a sandbox, as far as its status says.

    The kubelet writes nothing into it between a volume that cannot be mounted, or a network that does not come up, and
    the end of a pull that may take minutes: only its events tell these apart.
    """
    since = None if scheduled is None else moment(scheduled.get("lastTransitionTime"))
    sandbox = condition(pod, "PodReadyToStartContainers")
    if since is None or sandbox is None or is_true(pod, "PodReadyToStartContainers") or now - since < SET_UP:
        return None
    fact = (
        f"pod {name_of(pod)} is still being set up: an image is being pulled, or a volume or its network is not ready"
    )
    return Obstacle(Problem(Reason.NOT_STARTED, f"{fact}; `kubectl describe pod {name_of(pod)}` says which"))
