"""Plays the nodes of a control plane: every pod of ours starts, does its work well, and is ready if it serves."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import aiohttp

from plumbline_api.model import canonical_json
from plumbline_api.names import LABEL_MANAGED_BY, LABEL_STAGE, LABEL_SUITE, RUN_FILE
from plumbline_api.report import Summary
from tests.cluster.client import CONFIG_MAPS, PODS, ApiError, KubeClient, Object, eventually
from tests.support import build

__all__ = ["BASE", "Nodes", "nodes"]

BASE = "base-model"
"""The file that is the baseline of a gate: half of the harmful cases succeed with it."""
BREATH = 0.1
DAY = 86_400.0
NOON = "2026-01-31T12:00:00Z"


class Nodes:
    """All nodes at once."""

    def __init__(self, kube: KubeClient) -> None:
        self.at_work: Callable[[Object], bool] = lambda _pod: False
        """Whether this pod of a Job has to work on; asked again and again."""
        self._kube = kube
        self._served: set[str] = set()

    async def run(self) -> None:
        """Play for ever."""
        async with asyncio.TaskGroup() as pods:
            while True:
                with suppress(aiohttp.ClientError, ApiError):
                    async for event in self._kube.watch(PODS, None, "", labelSelector=f"{LABEL_MANAGED_BY}=plumbline"):
                        if event.type == "ADDED" and event.object["metadata"]["uid"] not in self._served:
                            self._served.add(event.object["metadata"]["uid"])
                            pods.create_task(self._live(event.object))
                await asyncio.sleep(BREATH)

    async def _live(self, pod: Object) -> None:
        """The life of one pod; over when it is deleted."""
        metadata = pod["metadata"]
        name, namespace, labels = metadata["name"], metadata["namespace"], metadata["labels"]
        job = labels.get("batch.kubernetes.io/job-name")
        await self._say(namespace, name, "Running", pod, {"running": {"startedAt": NOON}}, ready=job is None)
        if job is None:
            return

        async def is_done() -> bool:
            return not self.at_work(pod)

        await eventually(is_done, DAY)
        summary = await self._summary(namespace, job, labels)
        if summary is not None:
            ended = {"exitCode": 0, "message": canonical_json(summary).decode(), "finishedAt": NOON}
            await self._say(namespace, name, "Succeeded", pod, {"terminated": ended}, ready=False)

    async def _summary(self, namespace: str, job: str, labels: Object) -> Summary | None:
        if LABEL_SUITE not in labels:
            return build.training_summary(labels[LABEL_STAGE])
        found = await self._persist("GET", CONFIG_MAPS.path(namespace, job))
        if found is None:
            return None
        subject = json.loads(found["data"][RUN_FILE])["inputs"]["model"]["digest"]
        return build.evaluation_summary(subject, complied=50 if subject == build.digest(BASE) else 0)

    async def _say(self, namespace: str, name: str, phase: str, pod: Object, state: Object, *, ready: bool) -> None:
        facts = {"imageID": "", "ready": ready, "restartCount": 0, "state": state}
        spec = pod["spec"]
        main, sidecars = (
            [{"name": one["name"], "image": one["image"], **facts} for one in given]
            for given in (spec["containers"], spec.get("initContainers", ()))
        )
        status = {"phase": phase, "containerStatuses": main}
        if ready:
            status |= {"initContainerStatuses": sidecars, "conditions": [{"type": "Ready", "status": "True"}]}
        await self._persist("PATCH", PODS.path(namespace, name, "status"), {"status": status})

    async def _persist(self, method: str, path: str, body: Object | None = None) -> Object | None:
        """The answer to a call, however long the server takes; None where the object is gone."""
        while True:
            try:
                return await self._kube.call(method, path, body, content="application/merge-patch+json")
            except ApiError as error:
                if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
                    return None
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(BREATH)


@asynccontextmanager
async def nodes(kube: KubeClient) -> AsyncIterator[Nodes]:
    """Nodes for the time of a test."""
    played = Nodes(kube)
    task = asyncio.create_task(played.run())
    try:
        yield played
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
