"""What ended Jobs left behind, read from the API server where a watch has not told of it yet.

Called by the view. Jobs, their pods and their JobSets come in by watches of their own, and after a broken connection
one of these may be behind another: a Job is seen to have succeeded, and its pod still seems to work, or not to exist.
What a Job made stands in its pod alone, so nobody may conclude from the cache that it is gone.
"""

from collections.abc import Sequence
from typing import Final

from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.resources import JOB_SETS, JOBS, PODS, Resource, Watched
from plumbline_operator.kube.seen.cache import Cache, Name
from plumbline_operator.kube.seen.feed import Feed
from plumbline_operator.kube.seen.relations import JOB_NAME, JOB_SET_NAME, JobsOf, PodsOf
from plumbline_operator.kube.workloads.rawobjects import Raw, is_controlled_by, is_true, part

__all__ = ["Endings"]

_ENDS: Final = ("Complete", "Completed", "Failed")
"""Conditions of Jobs and of JobSets."""
_OVER: Final = ("Succeeded", "Failed")


class Endings:
    """Knows which ends are not known in full; reads each of them once."""

    def __init__(self, client: KubeClient, cache: Cache, feed: Feed) -> None:
        """Begin with none read; what is read goes into the feed."""
        self._client = client
        self._cache = cache
        self._feed = feed
        self._read: dict[tuple[Resource, Name], str] = {}
        """The uid of what was read, for what remains in doubt has gone from the API server too."""

    def in_doubt(self, resource: Resource, raw: Raw) -> bool:
        """Whether a Job, or a JobSet, has ended and more is to be known of its end than the cache holds."""
        if not _has_ended(raw) or self._read.get((resource, _name(raw))) == raw["metadata"]["uid"]:
            return False
        if resource == JOBS:
            status, ended = part(raw, "status"), [pod for pod in self._made_by(raw, PODS) if _is_over(pod)]
            return len(ended) < int(status.get("succeeded") or 0) + int(status.get("failed") or 0)
        jobs = self._made_by(raw, JOBS)
        return not any(map(_has_ended, jobs)) or any(self.in_doubt(JOBS, job) for job in jobs)

    async def read(self, resource: Resource, raw: Raw) -> None:
        """Read what is left of it. Raises ApiError."""
        namespace, name = _name(raw)
        if resource == JOB_SETS:
            await self._list(JOBS, namespace, f"{JOB_SET_NAME}={name}")
            for job in self._made_by(raw, JOBS):
                await self._list(PODS, namespace, f"{JOB_NAME}={job['metadata']['name']}")
        else:
            await self._list(PODS, namespace, f"{JOB_NAME}={name}")
        self._remember(resource, raw)

    def _made_by(self, raw: Raw, resource: Resource) -> Sequence[Raw]:
        """The pods of a Job, or the Jobs of a JobSet."""
        group = JobsOf(*_name(raw)) if resource == JOBS else PodsOf(JOBS.kind, *_name(raw))
        return [one for _, one in self._cache.members(group) if is_controlled_by(one, raw)]

    async def _list(self, resource: Resource, namespace: str, selector: str) -> None:
        more = ""
        while True:
            page = await self._client.page(Watched(resource, selector), namespace, more)
            for found in page.items:
                self._feed.put(resource, found)
            more = page.more
            if not more:
                return

    def _remember(self, resource: Resource, raw: Raw) -> None:
        self._read[resource, _name(raw)] = raw["metadata"]["uid"]
        if len(self._read) > self._cache.count(JOBS) + self._cache.count(JOB_SETS):
            known = self._cache.uid
            self._read = {(kind, name): uid for (kind, name), uid in self._read.items() if known(kind, *name) == uid}


def _name(raw: Raw) -> Name:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def _has_ended(raw: Raw) -> bool:
    return any(is_true(raw, end) for end in _ENDS)


def _is_over(pod: Raw) -> bool:
    return part(pod, "status").get("phase") in _OVER
