"""What happens to an Application over time, as Argo CD's own objects tell it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from tests.cluster.client import KubeClient, Object, Resource
from tests.e2e.argocd.processes import NAMESPACE

__all__ = ["APPLICATIONS", "Moment", "Record", "operations_of_looking_again", "recorded", "refresh", "until"]

APPLICATIONS: Final = Resource("argoproj.io", "v1alpha1", "applications")
_PERIOD: Final = 0.2
_REFRESH: Final = "argocd.argoproj.io/refresh"


@dataclass(frozen=True)
class Moment:
    """What an Application showed."""

    sync: str
    health: str
    phase: str
    """Of its last operation."""
    message: str
    """Of that operation."""


@dataclass
class Record:
    """Everything that an Application showed, each once until it changed, with the seconds since the beginning."""

    name: str
    began: float = field(default_factory=time.monotonic)
    moments: list[tuple[float, Moment]] = field(default_factory=list)
    synced: set[str] = field(default_factory=set)
    """Resources that were once as git has them."""
    drifted: list[str] = field(default_factory=list)
    """Those of them that were not any more, though git was as before."""
    operations: list[str] = field(default_factory=list)
    """When each operation began."""

    def note(self, application: Object) -> None:
        """Take down what is new."""
        moment = moment_of(application)
        if not self.moments or self.moments[-1][1] != moment:
            self.moments.append((time.monotonic() - self.began, moment))
        begun = _operation(application).get("startedAt", "")
        if begun and begun not in self.operations:
            self.operations.append(begun)
        for one in application.get("status", {}).get("resources") or ():
            told = f"{one['kind']}/{one['name']}"
            if one["status"] == "Synced":
                self.synced.add(told)
            elif told in self.synced:
                self.drifted.append(f"{told} {one['status']} after {time.monotonic() - self.began:.1f} s")

    async def is_well(self) -> bool:
        """Whether the last that it showed is Synced and Healthy."""
        last = self.moments[-1][1] if self.moments else None
        return last is not None and (last.sync, last.health) == ("Synced", "Healthy")

    def shown(self) -> str:
        """For people."""
        lines = [
            f"{seconds:6.1f} s  {moment.sync:9} {moment.health:11} {moment.phase:9} {moment.message[:150]}"
            for seconds, moment in self.moments
        ]
        return "\n".join([f"Application {self.name}:", *lines])


def moment_of(application: Object) -> Moment:
    """What an Application shows now."""
    status = application.get("status") or {}
    operation = _operation(application)
    return Moment(
        sync=status.get("sync", {}).get("status", ""),
        health=status.get("health", {}).get("status", ""),
        phase=operation.get("phase", ""),
        message=operation.get("message", ""),
    )


@asynccontextmanager
async def recorded(kube: KubeClient, name: str) -> AsyncIterator[Record]:
    """Follow an Application as long as this lasts; shown with a failure."""
    record = Record(name)
    following = asyncio.ensure_future(_follow(kube, record))
    try:
        yield record
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        print(f"\n{record.shown()}")  # noqa: T201 - captured


async def until(
    kube: KubeClient, name: str, holds: Callable[[Moment], bool], seconds: float, describe: Callable[[], str] = str
) -> Object:
    """The Application, once it shows that.

    Raises:
        AssertionError: It never did.
    """
    try:
        return await kube.until(APPLICATIONS, name, NAMESPACE, lambda found: holds(moment_of(found)), seconds)
    except TimeoutError as error:
        raise AssertionError(f"{error}\n{describe()}") from None


async def refresh(kube: KubeClient, name: str) -> None:
    """Let Argo CD look into git now, as a webhook of the git server would."""
    await kube.merge(APPLICATIONS, name, {"metadata": {"annotations": {_REFRESH: "normal"}}}, NAMESPACE)


async def operations_of_looking_again(kube: KubeClient, record: Record) -> list[str]:
    """What Argo CD begins when it compares twice what has settled: nothing, unless it finds a difference each time.

    Right after an operation it may know the objects as they were before, and begin one more in which there is nothing
    to do.
    """
    before = len(record.operations)
    for _ in range(2):
        await refresh(kube, record.name)
        await kube.until(APPLICATIONS, record.name, NAMESPACE, _has_refreshed, 60)
    await asyncio.sleep(2 * _PERIOD)
    return record.operations[before:]


def _has_refreshed(application: Object) -> bool:
    return _REFRESH not in (application["metadata"].get("annotations") or {})


def _operation(application: Object) -> dict[str, Any]:
    found: dict[str, Any] = (application.get("status") or {}).get("operationState") or {}
    return found


async def _follow(kube: KubeClient, record: Record) -> None:
    while True:
        found = await kube.find(APPLICATIONS, record.name, NAMESPACE)
        if found is not None:
            record.note(found)
        await asyncio.sleep(_PERIOD)
