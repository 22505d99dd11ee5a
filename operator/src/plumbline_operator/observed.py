"""What decide() sees of the world, frozen: the object, its children and the objects it names.

Made by an implementation of the Cluster port; read by decide, plan, gates and status. Nothing here does anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from plumbline_api.alignment import AlignmentRun, AlignmentRunStatus
from plumbline_api.configmap import ConfigMap
from plumbline_api.gate import EvalGate, EvalGateStatus
from plumbline_api.guarded import GuardedInference, GuardedInferenceStatus
from plumbline_api.names import Image, Kind
from plumbline_api.progress import Progress
from plumbline_api.reasons import Reason
from plumbline_api.redteam import RedTeamSuite, RedTeamSuiteStatus
from plumbline_api.report import Summary
from plumbline_api.runfile import Input

__all__ = [
    "JOB",
    "JOB_SET",
    "ChildRef",
    "DeploymentState",
    "GateState",
    "InputState",
    "JobPhase",
    "JobState",
    "Key",
    "ObjectStore",
    "Observed",
    "PlumblineObject",
    "PlumblineStatus",
    "Problem",
    "RunState",
    "Runtime",
    "StatusEndpoint",
]

PlumblineObject = AlignmentRun | RedTeamSuite | EvalGate | GuardedInference
PlumblineStatus = AlignmentRunStatus | RedTeamSuiteStatus | EvalGateStatus | GuardedInferenceStatus


class Key(NamedTuple):
    """Which object: kind, namespace, name."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


class ChildRef(NamedTuple):
    """Which child: the kind (Job, Deployment, ConfigMap, Service ...) and name."""

    kind: str
    name: str


JOB: Final = "Job"
JOB_SET: Final = "JobSet"


@dataclass(frozen=True)
class Problem:
    """Why something cannot be used, in words for a person: place, fact, remedy."""

    reason: Reason
    message: str


class JobPhase(StrEnum):
    """Life of a Job, retries included: Failed means that no retry is left."""

    PENDING = "Pending"
    """No pod has begun to work; of several nodes, not every node's."""
    RUNNING = "Running"
    """Every node's has, even where the next has to wait."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class JobState:
    """A Job as observed. `summary` is set where it left one."""

    name: str
    labels: Mapping[str, str]
    phase: JobPhase
    kind: str = JOB
    """Job, or JobSet where one does a Job's work."""
    summary: Summary | None = None
    problem: Problem | None = None
    """Why it failed; before its end, why it does not go on at the moment."""
    progress: Progress | None = None
    silent_since: datetime | None = None
    """Since when it could have reported progress and has not; None where it need not, or nobody listens."""
    preempted: bool = False
    """The last attempt was ended from outside; another one will resume."""
    waiting_since: datetime | None = None
    """Since when its pods should have begun to work; None once all have, and while a queue holds the Job."""
    hopeless: bool = False
    """The problem of a Job that has not ended will not pass by itself."""
    deleting: bool = False
    """It has been deleted and is not gone yet; one of the same name cannot be made before."""


@dataclass(frozen=True)
class DeploymentState:
    """Served pods as observed; ready are those of the pod that is furthest."""

    name: str
    engine_ready: bool = False
    guard_ready: bool = False
    endpoint: str | None = None
    """Base URL of the guard, where it can be reached."""
    problem: Problem | None = None
    """Why no pod is ready."""
    waiting_since: datetime | None = None
    """Since when the problem may pass by itself, for example while an image is pulled again."""
    hopeless: bool = False
    """The problem will not pass by itself."""
    replicas: int | None = None
    """Pods that it asks for; None where there can be one only."""
    ready: int = 0
    """Pods that serve; counted where there may be several."""

    @property
    def complete(self) -> bool:
        """Whether all pods that it asks for serve."""
        return self.engine_ready and self.guard_ready and (self.replicas is None or self.ready >= self.replicas)


@dataclass(frozen=True)
class InputState:
    """An input named by a source: what it resolved to, or why it did not."""

    resolved: Input | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class RunState:
    """An AlignmentRun that another object names."""

    run: AlignmentRun
    status: AlignmentRunStatus
    generation: int


@dataclass(frozen=True)
class GateState:
    """An EvalGate that another object names."""

    gate: EvalGate
    status: EvalGateStatus
    generation: int


@dataclass(frozen=True)
class StatusEndpoint:
    """Where Jobs report their progress."""

    url: str
    """Its address without a path."""
    authority: str
    """The certificates (PEM) that a pod trusts when it reports."""
    addresses: tuple[str, ...] = ()
    """What the host of the URL stands for, so that pods need no name server; empty for those that ask one."""
    egress: tuple[Mapping[str, Any], ...] = ()
    """Egress rules that let a pod reach it."""


@dataclass(frozen=True)
class ObjectStore:
    """How pods reach a store of scheme s3. What is None, the library knows by itself: an address, or who a pod is."""

    endpoint: str | None = None
    """The server's URL."""
    region: str | None = None
    credentials: str | None = None
    """The Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and perhaps AWS_SESSION_TOKEN."""
    authority_config_map: str | None = None
    """The ConfigMap whose key names.AUTHORITY_FILE holds the certificates to trust."""
    authority_secret: str | None = None
    """The same, where it is a Secret."""


@dataclass(frozen=True)
class Runtime:
    """Settings of the place that pods run in. All but the first two and `trust` are for clusters."""

    images: Mapping[Image, str]
    """References by digest."""
    store: str
    """URI of the artifact store."""
    store_claim: str | None = None
    """The PersistentVolumeClaim that holds a store of scheme file; mounted at the store's path."""
    object_store: ObjectStore | None = None
    """How a store of scheme s3 is reached."""
    trust: str | None = None
    """Public keys (PEM) that what is trained from and served must be signed by; None where that is not asked."""
    service_accounts: Mapping[Image, str] = field(default_factory=dict)
    """By the image that a pod is made for (trainer, evaluator, guard); left out, the namespace's default."""
    pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets that images are pulled with."""
    egress: tuple[Mapping[str, Any], ...] | None = None
    """Egress rules of a NetworkPolicy that every pod gets; empty allows nothing, None makes no such policy."""
    start_deadline: int | None = None
    """Seconds that a pod may need to begin its work before that is a failure; None waits for ever."""
    beside: bool = False
    """Whether a new revision of what is served comes up beside the one before, which goes when the new one serves."""
    linger: int = 0
    """Seconds for which a guard that is told to end goes on answering those who are still sent to it."""
    patience: float = 0.0
    """Seconds in which what an object names may still come, before its lack is for a person."""
    job_sets: bool = False
    """Whether a stage of several nodes is made as a JobSet: the cluster serves them, and the settings allow it."""
    status_endpoint: StatusEndpoint | None = None
    """Where Jobs report their progress; None where they write it into a file, or nobody listens."""


@dataclass(frozen=True)
class Observed:
    """One object and all that decide() may look at."""

    key: Key
    generation: int
    status: PlumblineStatus
    runtime: Runtime
    annotations: Mapping[str, str] = field(default_factory=dict)
    children: frozenset[ChildRef] = frozenset()
    """Children that exist."""
    jobs: tuple[JobState, ...] = ()
    """The object's own Jobs; for a RedTeamSuite those that execute it."""
    deployments: tuple[DeploymentState, ...] = ()
    inputs: Mapping[str, InputState] = field(default_factory=dict)
    """By the names that plan.inputs.needed_inputs gives them."""
    runs: Mapping[str, RunState] = field(default_factory=dict)
    suites: Mapping[str, RedTeamSuite] = field(default_factory=dict)
    gates: Mapping[str, GateState] = field(default_factory=dict)
    config_maps: Mapping[str, ConfigMap] = field(default_factory=dict)
    deleting: bool = False
    """The object has been deleted and is not gone yet: nothing may be made for it any more."""
