"""Sees all that happens to objects of ours and to Jobs, as the API server tells it, and forgets nothing.

Counts what no status tells: how many Jobs were ever made for one purpose, and what a status once said and then did not.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp

from plumbline_api.names import (
    LABEL_MANAGED_BY,
    LABEL_OWNER,
    LABEL_OWNER_KIND,
    LABEL_STAGE,
    LABEL_SUBJECT,
    LABEL_SUITE,
    Kind,
)
from tests.cluster.client import JOBS, ApiError, KubeClient, Object, Resource
from tests.cluster.crds import KINDS

__all__ = ["Witness", "facts_of", "witnessing"]

Place = tuple[str, Kind, str]
"""Namespace, kind and name."""
BREATH = 0.2


def facts_of(kind: Kind, status: Object) -> set[str]:
    """What a status says for good."""
    match kind:
        case Kind.ALIGNMENT_RUN:
            rows = [row for row in status.get("stages") or () if "output" in row]
            return {f"stage {row['name']} made {row['output']}" for row in rows} | _told(
                "the run made", status, "output"
            )
        case Kind.RED_TEAM_SUITE:
            return {f"executed against {row['subject']}" for row in status.get("executions") or ()}
        case Kind.EVAL_GATE:
            return _told(f"verdict {status['verdict']} over", status, "subject") if status.get("verdict") else set()
        case Kind.GUARDED_INFERENCE:
            return _told("serving", status.get("stable") or {}, "digest")


def _told(words: str, values: Object, field: str) -> set[str]:
    return {f"{words} {values[field]}"} if values.get(field) else set()


class Witness:
    """One for a whole control plane."""

    def __init__(self, kube: KubeClient) -> None:
        self.objects: dict[Place, Object] = {}
        """The newest state of every object of ours."""
        self.facts: defaultdict[Place, set[str]] = defaultdict(set)
        self.taken_back: list[str] = []
        self.jobs: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        """The purpose of every Job that ever was, by namespace and uid."""
        self.kube = kube
        self._news = asyncio.Event()

    def status(self, namespace: str, kind: Kind, name: str) -> Object:
        """The newest status of an object; empty where there is none."""
        return self.objects.get((namespace, kind, name), {}).get("status") or {}

    def duplicates(self, namespace: str) -> int:
        """How many Jobs were made once too often."""
        purposes = Counter(self.jobs[namespace].values())
        return sum(count - 1 for count in purposes.values())

    def lost(self, namespace: str) -> list[str]:
        """What a status of this namespace said and then did not."""
        return [one for one in self.taken_back if one.startswith(f"{namespace}/")]

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Whether it holds within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return holds()
        return True

    async def follow(self, resource: Resource, selector: str, take: Callable[[str, Object], None]) -> None:
        """Watch for ever; a watch that ends begins anew with all that is there."""
        query = {"labelSelector": selector} if selector else {}
        while True:
            try:
                async for event in self.kube.watch(resource, None, "", **query):
                    if event.type in ("ADDED", "MODIFIED", "DELETED"):
                        take(event.type, event.object)
                        self._news.set()
            except (aiohttp.ClientError, ApiError):
                await asyncio.sleep(BREATH)

    def take_job(self, change: str, job: Object) -> None:
        """Remember a Job for ever."""
        metadata = job["metadata"]
        labels = metadata.get("labels") or {}
        words = (LABEL_OWNER_KIND, LABEL_OWNER, LABEL_STAGE, LABEL_SUITE, LABEL_SUBJECT)
        if change != "DELETED":
            self.jobs[metadata["namespace"]][metadata["uid"]] = tuple(labels.get(word, "") for word in words)

    def take_object(self, kind: Kind, change: str, thing: Object) -> None:
        """Compare a status with what it said before."""
        metadata = thing["metadata"]
        place = (metadata["namespace"], kind, metadata["name"])
        if change == "DELETED":
            self.objects.pop(place, None)
            self.facts.pop(place, None)
            return
        now = facts_of(kind, thing.get("status") or {})
        self.taken_back += [f"{'/'.join(place)}: {fact}" for fact in self.facts[place] - now]
        self.facts[place], self.objects[place] = now, thing


@asynccontextmanager
async def witnessing(kube: KubeClient) -> AsyncIterator[Witness]:
    """A witness for the time of a test."""
    witness = Witness(kube)
    async with asyncio.TaskGroup() as watches:
        tasks = [watches.create_task(witness.follow(JOBS, f"{LABEL_MANAGED_BY}=plumbline", witness.take_job))]
        for kind, resource in KINDS.items():

            def take(change: str, thing: Object, kind: Kind = kind) -> None:
                witness.take_object(kind, change, thing)

            tasks.append(watches.create_task(witness.follow(resource, "", take)))
        try:
            yield witness
        finally:
            for task in tasks:
                task.cancel()
