"""Fields that make no difference on one machine, or another one, and why; told when a manifest is run. Pure."""

from collections.abc import Iterator

from plumbline_api.alignment import AlignmentRun
from plumbline_api.gate import EvalGate
from plumbline_api.guarded import GuardedInference
from plumbline_operator.observed import PlumblineObject

__all__ = ["ignored_fields"]


def ignored_fields(thing: PlumblineObject) -> tuple[str, ...]:
    """One sentence per field of an object that is meant for clusters."""
    return tuple(_ignored(thing))


def _ignored(thing: PlumblineObject) -> Iterator[str]:
    if isinstance(thing, AlignmentRun | EvalGate | GuardedInference):
        if thing.spec.compute.node_selector:
            yield "spec.compute.nodeSelector changes nothing here: this machine is the only node"
        if thing.spec.compute.tolerations:
            yield "spec.compute.tolerations changes nothing here: this machine has no taints"
    if isinstance(thing, AlignmentRun) and thing.spec.compute.nodes > 1:
        yield f"spec.compute.nodes: all {thing.spec.compute.nodes} work beside each other on this machine"
    if isinstance(thing, AlignmentRun) and thing.spec.queue is not None:
        yield "spec.queue changes nothing here: Jobs wait for the cores of this machine only"
    if isinstance(thing, GuardedInference) and thing.spec.replicas is not None and thing.spec.replicas > 1:
        yield "spec.replicas changes nothing here: one pod serves"
