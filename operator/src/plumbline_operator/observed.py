"""What decide() sees of the world, frozen: the object, its children and the objects it names.

Made by an implementation of the Cluster port; read by decide, plan, gates and status. Nothing here does anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

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
    "ChildRef",
    "DeploymentState",
    "GateState",
    "InputState",
    "JobPhase",
    "JobState",
    "Key",
    "Observed",
    "PlumblineObject",
    "PlumblineStatus",
    "Problem",
    "RunState",
    "Runtime",
]

PlumblineObject = AlignmentRun | RedTeamSuite | EvalGate | GuardedInference
PlumblineStatus = AlignmentRunStatus | RedTeamSuiteStatus | EvalGateStatus | GuardedInferenceStatus


@dataclass(frozen=True, order=True)
class Key:
    """Which object: kind, namespace, name."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, order=True)
class ChildRef:
    """Which child: the kind (Job, Deployment, ConfigMap) and name."""

    kind: str
    name: str


@dataclass(frozen=True)
class Problem:
    """Why something cannot be used, in words for a person: place, fact, remedy."""

    reason: Reason
    message: str


class JobPhase(StrEnum):
    """Life of a Job, retries included: Failed means that no retry is left."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class JobState:
    """A Job as observed. `problem` is set where it failed; `summary` where it left one."""

    name: str
    labels: Mapping[str, str]
    phase: JobPhase
    summary: Summary | None = None
    problem: Problem | None = None
    progress: Progress | None = None
    preempted: bool = False
    """The last attempt was told to stop; another one will resume."""


@dataclass(frozen=True)
class DeploymentState:
    """A served pod as observed."""

    name: str
    engine_ready: bool = False
    guard_ready: bool = False
    endpoint: str | None = None
    """Base URL of the guard, where it can be reached."""
    problem: Problem | None = None
    """Set where the pod keeps failing."""


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
class Runtime:
    """Settings of the place that Jobs run in: image references by digest, and the artifact store."""

    images: Mapping[Image, str]
    store: str


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
