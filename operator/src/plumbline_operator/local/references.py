"""Which objects an object names, so that they can be observed with it. Called by `cluster` and `session`; pure."""

from collections.abc import Iterator

from plumbline_api.alignment import AlignmentRun
from plumbline_api.gate import EvalGate
from plumbline_api.guarded import GuardedInference
from plumbline_api.names import Kind
from plumbline_api.sources import SubjectSource
from plumbline_operator.local.records import key_of
from plumbline_operator.observed import Key, PlumblineObject

__all__ = ["named_config_maps", "named_objects"]


def named_objects(thing: PlumblineObject) -> tuple[Key, ...]:
    """Objects of our kinds that an object names directly."""
    namespace = key_of(thing).namespace
    return tuple(Key(kind, namespace, name) for kind, name in _named(thing))


def named_config_maps(thing: PlumblineObject) -> tuple[str, ...]:
    """ConfigMaps that an object names."""
    if isinstance(thing, GuardedInference) and thing.spec.guard.rules is not None:
        return (thing.spec.guard.rules.config_map.name,)
    return ()


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
