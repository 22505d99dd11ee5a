"""The status endpoint over TLS, with an API server that says what a test wants: JobSets, the byte limit, leaders."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from plumbline_api.names import LABEL_OWNER, LABEL_OWNER_KIND, STATUS_LIMIT_BYTES, status_audience, status_path
from plumbline_operator.kube.api.resources import JOB_SETS, JOBS, PODS, Resource
from plumbline_operator.kube.progress.endpoint import StatusServer
from plumbline_operator.kube.progress.reports import Reports
from plumbline_operator.kube.progress.reviews import Reviews
from plumbline_operator.kube.queue import WorkQueue
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.observed import Key
from tests.cluster.pki import Authority
from tests.support import build
from tests.support.scripted_api import answer, scripted_api
from tests.unit.operator.test_kube_progress import reviewed, token

REPORT = b'{"trainerStatus": {"progressPercentage": 5}}'


@dataclass
class Desk:
    """An endpoint, what it knows, and a client that trusts it."""

    cache: Cache
    reports: Reports
    queue: WorkQueue[Key]
    server: StatusServer
    tls: ssl.SSLContext
    leading: bool = True
    codes: list[int] = field(default_factory=list)

    def put(self, resource: Resource, name: str, uid: str, owner: str = "", **labels: str) -> None:
        """Let the operator have seen an object."""
        references = [{"uid": owner, "controller": True}] if owner else []
        metadata: dict[str, Any] = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "1"}
        self.cache.put(resource, {"metadata": {**metadata, "labels": labels, "ownerReferences": references}})

    async def post(self, job: str, pod: str, body: bytes = REPORT) -> int:
        """Report as a pod, with a token for that Job."""
        shown = token(aud=[status_audience("ns", job)], **{"kubernetes.io": {"pod": {"uid": pod}}})
        url = f"https://127.0.0.1:{self.server.port}{status_path('ns', job)}"
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls)) as session,
            session.post(url, data=body, headers={"Authorization": f"Bearer {shown}"}) as said,
        ):
            return said.status


@asynccontextmanager
async def listening(folder: Path, pod: str) -> AsyncIterator[Desk]:
    """An endpoint whose API server vouches for one pod, whatever it is asked."""
    authority = Authority(folder)
    pair = authority.issue("server", addresses=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    cache, queue = Cache(), WorkQueue[Key](Random(1))
    reports = Reports(cache, queue)
    async with scripted_api() as api, api.client() as client:
        audiences = tuple(status_audience("ns", name) for name in ("set", "job", "other"))
        api.say(answer(reviewed(audiences=audiences, pod=pod)))
        server = StatusServer(
            "127.0.0.1",
            0,
            context,
            cache=cache,
            reports=reports,
            reviews=Reviews(client),
            accepting=lambda: desk.leading,
            count=lambda code: desk.codes.append(code),
            now=lambda: build.NOON,
        )
        desk = Desk(cache, reports, queue, server, trusting)
        await server.start()
        try:
            yield desk
        finally:
            await server.close()


async def test_a_pod_of_a_job_sets_job_reports_for_the_set(tmp_path: Path) -> None:
    async with listening(tmp_path, "pod-1") as desk:
        desk.put(JOB_SETS, "set", "set-1", **{LABEL_OWNER: "base", LABEL_OWNER_KIND: "AlignmentRun"})
        desk.put(JOBS, "set-node-0", "job-1", "set-1", **{"jobset.sigs.k8s.io/jobset-name": "set"})
        desk.put(JOBS, "set-node-1", "job-2", "set-0", **{"jobset.sigs.k8s.io/jobset-name": "set"})
        desk.put(PODS, "p1", "pod-1", "job-1", **{"batch.kubernetes.io/job-name": "set-node-0"})
        desk.put(PODS, "p2", "pod-2", "job-2", **{"batch.kubernetes.io/job-name": "set-node-1"})
        assert await desk.post("set", "pod-1") == 200
        assert await desk.post("set", "pod-2") == 403, "its Job is of an earlier JobSet of this name"
        newest = desk.reports.newest("ns", "set")
        assert newest is not None
        assert (newest.progress_percentage, newest.last_updated_time) == (5, build.NOON)
        assert await desk.queue.get() == Key(build.run().kind, "ns", "base")  # type: ignore[arg-type]  # its value
        assert desk.codes == [200, 403]


async def test_a_report_may_be_as_long_as_the_limit_and_not_a_byte_longer(tmp_path: Path) -> None:
    async with listening(tmp_path, "pod-1") as desk:
        desk.put(JOBS, "job", "job-1")
        desk.put(PODS, "p1", "pod-1", "job-1", **{"batch.kubernetes.io/job-name": "job"})
        assert await desk.post("job", "pod-1", REPORT.ljust(STATUS_LIMIT_BYTES)) == 200
        assert await desk.post("job", "pod-1", REPORT.ljust(STATUS_LIMIT_BYTES + 1)) == 413


async def test_a_token_whose_claims_are_not_those_of_its_review_is_refused(tmp_path: Path) -> None:
    async with listening(tmp_path, "pod-2") as desk:
        desk.put(JOBS, "job", "job-1")
        desk.put(PODS, "p1", "pod-1", "job-1", **{"batch.kubernetes.io/job-name": "job"})
        assert await desk.post("job", "pod-1") == 403
        assert len(desk.reports) == 0


async def test_a_replica_that_does_not_do_the_work_takes_nothing(tmp_path: Path) -> None:
    async with listening(tmp_path, "pod-1") as desk:
        desk.put(JOBS, "job", "job-1")
        desk.put(PODS, "p1", "pod-1", "job-1", **{"batch.kubernetes.io/job-name": "job"})
        desk.leading = False
        assert await desk.post("job", "pod-1") == 503
        desk.leading = True
        assert await desk.post("job", "pod-1") == 200
