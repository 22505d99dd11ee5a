"""Who names whom: found again from either end. A gate names runs and suites, a run names its inputs; knows no I/O."""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from plumbline_operator.observed import Key

__all__ = ["ConfigMapName", "Mentions"]


class ConfigMapName(NamedTuple):
    """A ConfigMap that people write."""

    namespace: str
    name: str


class Mentions:
    """What each object names, and which objects name a thing, whether it exists or not."""

    def __init__(self) -> None:
        self._named: dict[Key, frozenset[Hashable]] = {}
        self._namers: dict[Hashable, set[Key]] = {}

    def record(self, namer: Key, named: Iterable[Hashable]) -> None:
        """Note all that an object names; what it named before is forgotten."""
        after, before = frozenset(named), self._named.get(namer, frozenset())
        for thing in before - after:
            self._namers[thing].discard(namer)
            if not self._namers[thing]:
                del self._namers[thing]
        for thing in after - before:
            self._namers.setdefault(thing, set()).add(namer)
        if after:
            self._named[namer] = after
        else:
            self._named.pop(namer, None)

    def namers(self, thing: Hashable) -> tuple[Key, ...]:
        """The objects that name it, in order."""
        return tuple(sorted(self._namers.get(thing, ())))

    def config_maps(self) -> tuple[ConfigMapName, ...]:
        """All ConfigMaps that are named."""
        return tuple(sorted(thing for thing in self._namers if isinstance(thing, ConfigMapName)))
