"""The kinds as types, and which objects an object names, so that they can be observed with it. Pure.

Called by both implementations of the Cluster port.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from plumbline_api.alignment import AlignmentRun, AlignmentRunStatus
from plumbline_api.gate import EvalGate, EvalGateStatus
from plumbline_api.guarded import GuardedInference, GuardedInferenceStatus
from plumbline_api.names import Kind
from plumbline_api.redteam import RedTeamSuite, RedTeamSuiteStatus
from plumbline_api.runfile import Input
from plumbline_api.sources import SubjectSource
from plumbline_operator.observed import GateState, Key, PlumblineObject, PlumblineStatus, RunState

__all__ = [
    "OBJECT_TYPES",
    "STATUS_TYPES",
    "Named",
    "named_config_maps",
    "named_objects",
    "named_states",
    "resolved_inputs",
]

OBJECT_TYPES: Final[Mapping[Kind, type[PlumblineObject]]] = {
    Kind.ALIGNMENT_RUN: AlignmentRun,
    Kind.RED_TEAM_SUITE: RedTeamSuite,
    Kind.EVAL_GATE: EvalGate,
    Kind.GUARDED_INFERENCE: GuardedInference,
}
"""The model of the objects of each kind."""
STATUS_TYPES: Final[Mapping[Kind, type[PlumblineStatus]]] = {
    Kind.ALIGNMENT_RUN: AlignmentRunStatus,
    Kind.RED_TEAM_SUITE: RedTeamSuiteStatus,
    Kind.EVAL_GATE: EvalGateStatus,
    Kind.GUARDED_INFERENCE: GuardedInferenceStatus,
}
"""The model of the status of each kind."""


def named_objects(thing: PlumblineObject) -> tuple[Key, ...]:
    """Objects of our kinds that an object names directly."""
    return tuple(Key(kind, thing.metadata.namespace, name) for kind, name in _named(thing))


class Named(NamedTuple):
    """An object that another one names, as it was found."""

    key: Key
    thing: PlumblineObject | None
    status: PlumblineStatus
    generation: int


def named_states(
    found: Iterable[Named],
) -> tuple[Mapping[str, RunState], Mapping[str, RedTeamSuite], Mapping[str, GateState]]:
    """What decide() sees of objects that are named: runs, suites and gates, each by name."""
    runs: dict[str, RunState] = {}
    suites: dict[str, RedTeamSuite] = {}
    gates: dict[str, GateState] = {}
    for key, thing, status, generation in found:
        if isinstance(thing, AlignmentRun) and isinstance(status, AlignmentRunStatus):
            runs[key.name] = RunState(thing, status, generation)
        elif isinstance(thing, EvalGate) and isinstance(status, EvalGateStatus):
            gates[key.name] = GateState(thing, status, generation)
        elif isinstance(thing, RedTeamSuite):
            suites[key.name] = thing
    return runs, suites, gates


def named_config_maps(thing: PlumblineObject) -> tuple[str, ...]:
    """ConfigMaps that an object names."""
    if isinstance(thing, GuardedInference) and thing.spec.guard.rules is not None:
        return (thing.spec.guard.rules.config_map.name,)
    return ()


def resolved_inputs(status: PlumblineStatus) -> Mapping[str, Input]:
    """Inputs that a status has recorded; they are not looked up again."""
    if not isinstance(status, AlignmentRunStatus):
        return {}
    return {found.name: Input(uri=found.uri, digest=found.digest) for found in status.inputs}


def _named(thing: PlumblineObject) -> Iterator[tuple[Kind, str]]:
    if isinstance(thing, AlignmentRun) and thing.spec.model.run is not None:
        yield Kind.ALIGNMENT_RUN, thing.spec.model.run.name
    if isinstance(thing, EvalGate):
        yield from _subject(thing.spec.subject)
        yield from _subject(thing.spec.baseline)
        for suite in thing.spec.suites:
            yield Kind.RED_TEAM_SUITE, suite.name
    if isinstance(thing, GuardedInference):
        yield Kind.EVAL_GATE, thing.spec.gate.name


def _subject(source: SubjectSource | None) -> Iterator[tuple[Kind, str]]:
    if source is not None and source.alignment_run is not None:
        yield Kind.ALIGNMENT_RUN, source.alignment_run.name
