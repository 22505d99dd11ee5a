"""A world in memory: an implementation of the Cluster port whose Jobs end as the test says.

It plays the API server's part for the core's own tests and counts what is asked of it; the real implementations have
the port suite.
"""

from dataclasses import dataclass, field, replace

from plumbline_api.alignment import AlignmentRun, AlignmentRunStatus
from plumbline_api.configmap import ConfigMap
from plumbline_api.gate import EvalGate, EvalGateStatus
from plumbline_api.guarded import GuardedInferenceStatus
from plumbline_api.names import LABEL_SUITE, Kind
from plumbline_api.reasons import Reason
from plumbline_api.redteam import RedTeamSuite, RedTeamSuiteStatus
from plumbline_api.report import Summary
from plumbline_api.runfile import Input
from plumbline_operator.cluster import Sight
from plumbline_operator.decide import decide
from plumbline_operator.decision import Child, Decision, Event
from plumbline_operator.execute import execute
from plumbline_operator.observed import (
    JOB,
    JOB_SET,
    ChildRef,
    DeploymentState,
    GateState,
    InputState,
    JobPhase,
    JobState,
    Key,
    Observed,
    PlumblineObject,
    PlumblineStatus,
    Problem,
    RunState,
    Runtime,
)
from plumbline_operator.plan.inputs import needed_inputs
from tests.support.build import RUNTIME, STORE, digest, later

EMPTY: dict[Kind, PlumblineStatus] = {
    Kind.ALIGNMENT_RUN: AlignmentRunStatus(),
    Kind.RED_TEAM_SUITE: RedTeamSuiteStatus(),
    Kind.EVAL_GATE: EvalGateStatus(),
    Kind.GUARDED_INFERENCE: GuardedInferenceStatus(),
}


def key_of(thing: PlumblineObject) -> Key:
    """The key of an object."""
    return Key(Kind(thing.kind), thing.metadata.namespace, thing.metadata.name)


@dataclass
class World:
    """Objects, statuses and children; every child ever created is remembered in `created` as Kind/name."""

    objects: dict[Key, PlumblineObject] = field(default_factory=dict)
    statuses: dict[Key, PlumblineStatus] = field(default_factory=dict)
    annotations: dict[Key, dict[str, str]] = field(default_factory=dict)
    children: dict[Key, set[ChildRef]] = field(default_factory=dict)
    jobs: dict[str, tuple[Key, JobState]] = field(default_factory=dict)
    deployments: dict[str, tuple[Key, DeploymentState]] = field(default_factory=dict)
    generations: dict[Key, int] = field(default_factory=dict)
    runtime: Runtime = RUNTIME
    config_maps: dict[str, ConfigMap] = field(default_factory=dict)
    broken_inputs: dict[str, Problem] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    events: list[tuple[Key, Event]] = field(default_factory=list)
    writes: int = 0
    seconds: int = 0

    def add(self, *things: PlumblineObject) -> "World":
        """Apply objects; another spec is another generation."""
        for thing in things:
            key = key_of(thing)
            changed = key in self.objects and self.objects[key].spec != thing.spec
            self.generations[key] = self.generations.get(key, 1) + changed
            self.objects[key] = thing
            self.statuses.setdefault(key, EMPTY[key.kind])
            self.children.setdefault(key, set())
        return self

    def run_status(self, name: str) -> AlignmentRunStatus:
        """The status of a run now."""
        status = self.statuses[Key(Kind.ALIGNMENT_RUN, "default", name)]
        assert isinstance(status, AlignmentRunStatus)
        return status

    def gate_status(self, name: str = "gate") -> EvalGateStatus:
        """The status of a gate now."""
        status = self.statuses[Key(Kind.EVAL_GATE, "default", name)]
        assert isinstance(status, EvalGateStatus)
        return status

    def inference_status(self, name: str = "served") -> GuardedInferenceStatus:
        """The status of a served model now."""
        status = self.statuses[Key(Kind.GUARDED_INFERENCE, "default", name)]
        assert isinstance(status, GuardedInferenceStatus)
        return status

    def finish(self, name: str, summary: Summary | None, problem: Problem | None = None) -> None:
        """End a Job."""
        owner, job = self.jobs[name]
        phase = JobPhase.SUCCEEDED if problem is None else JobPhase.FAILED
        self.jobs[name] = (owner, replace(job, phase=phase, summary=summary, problem=problem))

    def start(self, name: str, *, preempted: bool = False) -> None:
        """Let a Job run."""
        owner, job = self.jobs[name]
        running = replace(job, phase=JobPhase.RUNNING, preempted=preempted, problem=None, waiting_since=None)
        self.jobs[name] = (owner, running)

    def obstruct(self, name: str, problem: Problem, *, hopeless: bool = False) -> None:
        """Keep a Job from going on."""
        owner, job = self.jobs[name]
        self.jobs[name] = (owner, replace(job, problem=problem, hopeless=hopeless))

    def unlink(self, name: str) -> None:
        """Delete a Job behind the operator's back; it is not gone yet (`lose` ends it)."""
        owner, job = self.jobs[name]
        self.jobs[name] = (owner, replace(job, deleting=True))

    def lose(self, name: str) -> None:
        """Delete a Job behind the operator's back."""
        owner, job = self.jobs.pop(name)
        self.children[owner].discard(ChildRef(job.kind, name))

    def open_jobs(self) -> list[str]:
        """Names of Jobs that have not ended."""
        return [name for name, (_, job) in self.jobs.items() if job.phase in (JobPhase.PENDING, JobPhase.RUNNING)]

    # The port.

    async def keys(self) -> tuple[Key, ...]:
        return tuple(self.objects)

    async def observe(self, key: Key) -> Sight | None:
        thing = self.objects.get(key)
        if thing is None:
            return None
        things = tuple(self.objects.values())
        runs = {
            other.metadata.name: RunState(other, self.run_status(other.metadata.name), self.generations[key_of(other)])
            for other in things
            if isinstance(other, AlignmentRun)
        }
        gates = {
            other.metadata.name: GateState(
                other, self.gate_status(other.metadata.name), self.generations[key_of(other)]
            )
            for other in things
            if isinstance(other, EvalGate)
        }
        observed = Observed(
            key=key,
            generation=self.generations[key],
            status=self.statuses[key],
            runtime=self.runtime,
            annotations=self.annotations.get(key, {}),
            children=frozenset(self.children[key]),
            jobs=tuple(job for owner, job in self.jobs.values() if self._belongs(key, owner, job)),
            deployments=tuple(state for owner, state in self.deployments.values() if owner == key),
            inputs={name: self._input(name) for name in needed_inputs(thing)},
            runs=runs,
            suites={other.metadata.name: other for other in things if isinstance(other, RedTeamSuite)},
            gates=gates,
            config_maps=self.config_maps,
        )
        return thing, observed

    def _belongs(self, key: Key, owner: Key, job: JobState) -> bool:
        if key.kind == Kind.RED_TEAM_SUITE:
            return job.labels.get(LABEL_SUITE) == key.name
        return owner == key

    def _input(self, name: str) -> InputState:
        problem = self.broken_inputs.get(name)
        return InputState(problem=problem) if problem else InputState(Input(uri=STORE, digest=digest(name)))

    async def apply(self, owner: Key, child: Child) -> None:
        if child.ref in self.children[owner]:
            return
        self.children[owner].add(child.ref)
        self.created.append(f"{child.ref.kind}/{child.ref.name}")
        labels = dict(child.manifest["metadata"]["labels"])
        if child.ref.kind in (JOB, JOB_SET):
            since = later(self.seconds)
            fresh = JobState(child.ref.name, labels, JobPhase.PENDING, child.ref.kind, waiting_since=since)
            self.jobs[child.ref.name] = (owner, fresh)
        if child.ref.kind == "Deployment":
            self.deployments[child.ref.name] = (owner, DeploymentState(child.ref.name))

    async def delete(self, owner: Key, ref: ChildRef) -> None:
        self.children[owner].discard(ref)
        self.jobs.pop(ref.name, None)
        if ref.kind == "Deployment":
            self.deployments.pop(ref.name, None)

    async def write_status(self, key: Key, status: PlumblineStatus) -> None:
        self.writes += 1
        self.statuses[key] = type(status).parse(status.dump())

    async def emit(self, key: Key, event: Event) -> None:
        self.events.append((key, event))

    # The loop.

    async def step(self, key: Key) -> Decision:
        """Observe, decide, execute once."""
        sight = await self.observe(key)
        assert sight is not None, f"{key} is not in this world"
        thing, observed = sight
        self.seconds += 1
        decision = decide(thing, observed, later(self.seconds))
        await execute(key, observed, decision, self)
        return decision

    async def settle(self) -> None:
        """Step every object until nothing changes."""
        for _ in range(50):
            before = (dict(self.statuses), list(self.created), len(self.jobs), len(self.deployments))
            for key in list(self.objects):
                await self.step(key)
            if before == (dict(self.statuses), list(self.created), len(self.jobs), len(self.deployments)):
                return
        raise AssertionError("the world does not come to rest")


def failed(reason: Reason = Reason.INTERNAL_ERROR) -> Problem:
    """A Job's failure."""
    return Problem(reason, "it did not work; look at the logs")
