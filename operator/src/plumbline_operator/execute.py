"""Carry out a Decision: new children, one status write if it differs, old children, events. Called by the loops."""

from plumbline_operator.cluster import Cluster
from plumbline_operator.decision import Decision
from plumbline_operator.observed import Key, Observed

__all__ = ["execute"]


async def execute(key: Key, observed: Observed, decision: Decision, cluster: Cluster) -> None:
    """Make the world as decided.

    Every step may be repeated, so a crash between any two of them loses nothing: the next observation leads to the
    same decision, less what was done. Deletions and events come after the write: no result goes before it is recorded,
    and a person never hears of what was not.
    """
    for child in decision.apply:
        await cluster.apply(key, child)
    if decision.status != observed.status:
        await cluster.write_status(key, decision.status)
    for ref in decision.delete:
        await cluster.delete(key, ref)
    for event in decision.events:
        await cluster.emit(key, event)
