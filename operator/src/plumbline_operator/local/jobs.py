"""Jobs of local mode: the Job controller. Each Job is a folder; its attempts are pods (`attempts`).

Called by `cluster`. What was decided about a Job lies in its folder, so a later plumbline goes on from there:

    manifest.json the manifest and the owner
    work/         checkpoints; shared by all attempts, removed when the Job succeeded; work-N/ those of further nodes
    attempts/N/   one attempt: plan, logs, summary, progress, result
    done.json     how the Job ended
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from plumbline_api.model import Document
from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result
from plumbline_operator.local.attempts import Attempt, attempts_in, next_attempt
from plumbline_operator.local.errors import in_plain_words
from plumbline_operator.local.layout import read_json, write_atomically
from plumbline_operator.local.machine import Machine
from plumbline_operator.local.offered import Unplannable, check_job
from plumbline_operator.local.ownership import OwnedManifest, read_owned
from plumbline_operator.local.podplan import PodPlan, PodResult
from plumbline_operator.local.podspec import Place, cpu_request, declared_ports, nodes_of, plan_pod, together
from plumbline_operator.local.retries import Again, GiveUp, decide_next, was_disrupted
from plumbline_operator.local.settings import LocalSettings
from plumbline_operator.local.verdicts import explain_failure, explain_missing_summary, read_progress, read_summary
from plumbline_operator.local.volumes import Texts, make_volumes
from plumbline_operator.observed import JobPhase, JobState, Problem

__all__ = ["Job", "read_jobs"]

DONE_FILE = "done.json"
WORK = "work"


class Done(Document):
    """How a Job ended."""

    phase: JobPhase
    attempt: int
    reason: Reason | None = None
    message: str = ""


class Job:
    """One Job: its folder, and while plumbline runs, the task that sees it through."""

    def __init__(self, folder: Path, record: OwnedManifest) -> None:
        self.folder = folder
        self.record = record
        self._done = self._read_done()
        self._running: Attempt | None = None
        self._stopping = asyncio.Event()
        self._settled: dict[int, PodResult] = {}

    @property
    def name(self) -> str:
        """Its name, unique in its namespace."""
        return self.folder.name

    @property
    def done(self) -> bool:
        """Whether it has ended, well or badly."""
        return self._done is not None

    @property
    def running(self) -> bool:
        """Whether an attempt of this plumbline runs."""
        return self._running is not None

    @property
    def _worker(self) -> str:
        return str(self.record.pod["containers"][0]["name"])

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts so far, oldest first."""
        return attempts_in(self.folder / "attempts")

    def state(self) -> JobState:
        """The Job as decide() sees it."""
        attempts = self.attempts
        if self._done is not None:
            return self._final_state(self._done)
        last = attempts[-1] if attempts else None
        result = None if last is None else last.result()
        return JobState(
            name=self.name,
            labels=self.record.labels,
            phase=JobPhase.PENDING if last is None else JobPhase.RUNNING,
            progress=None if last is None else read_progress(last.folder, self._worker),
            preempted=result is not None and (was_disrupted(result) or result.exit_code == ExitCode.PREEMPTED),
        )

    def _final_state(self, done: Done) -> JobState:
        folder = self.folder / "attempts" / str(done.attempt)
        return JobState(
            name=self.name,
            labels=self.record.labels,
            phase=done.phase,
            summary=read_summary(folder, self._worker),
            problem=None if done.reason is None else Problem(done.reason, done.message),
            progress=read_progress(folder, self._worker),
        )

    async def see_through(self, machine: Machine, texts: Texts, changed: Callable[[], None]) -> None:
        """Run attempts until the Job is done, or until `stop`; `changed` is told of every start and end."""
        settings = machine.settings
        while self._done is None and not self._stopping.is_set():
            results = [await self._result_of(attempt, settings.ending_poll) for attempt in self.attempts]
            step = decide_next(self.record.spec, results, first=settings.first_delay, longest=settings.longest_delay)
            if not isinstance(step, Again):
                self._finish(step if isinstance(step, GiveUp) else None, len(results))
            elif await self._may_start(step.at):
                async with machine.cores.hold(cpu_request(self.record.pod) * nodes_of(self.record.spec)):
                    if not self._stopping.is_set():
                        await self._attempt(step.seconds_left, machine, texts, changed)
            changed()

    def stop(self) -> None:
        """Ask the running attempt to save its work and end; no other will start."""
        self._stopping.set()
        if self._running is not None:
            self._running.stop()

    def kill(self) -> None:
        """End the running attempt at once."""
        self._stopping.set()
        if self._running is not None:
            self._running.kill()

    async def wait_until_gone(self, poll: float) -> None:
        """Wait for processes that an earlier plumbline left ending."""
        for attempt in self.attempts:
            await attempt.settle(poll=poll)

    async def _result_of(self, attempt: Attempt, poll: float) -> PodResult:
        if attempt.number not in self._settled:
            self._settled[attempt.number] = await attempt.settle(poll=poll)
        return self._settled[attempt.number]

    async def _may_start(self, at: float) -> bool:
        """Wait for the time of the next attempt; False where the Job was stopped meanwhile."""
        wait = at - time.time()
        if wait > 0:
            try:
                await asyncio.wait_for(self._stopping.wait(), wait)
            except TimeoutError:
                pass
        return not self._stopping.is_set()

    async def _attempt(
        self, seconds_left: float | None, machine: Machine, texts: Texts, changed: Callable[[], None]
    ) -> None:
        attempt = next_attempt(self.folder / "attempts")
        with machine.ports.keep(declared_ports(self.record.pod)) as ports:
            try:
                plan = self._plan(attempt, ports, seconds_left, machine.settings, texts)
            except Unplannable as error:
                self._fail(attempt.number, error.problem)
                return
            self._running = attempt
            changed()
            try:
                self._settled[attempt.number] = await attempt.run(plan, machine.settings.environment)
            finally:
                self._running = None

    def _plan(
        self,
        attempt: Attempt,
        ports: Mapping[str, int],
        seconds_left: float | None,
        settings: LocalSettings,
        texts: Texts,
    ) -> PodPlan:
        check_job(self.record.spec)
        spec, count = self.record.pod, nodes_of(self.record.spec)
        plans = []
        for rank in range(count):
            work = self.folder / (f"{WORK}-{rank}" if rank else WORK)
            own = attempt.folder / f"node-{rank}" if rank else attempt.folder
            volumes = make_volumes(spec, work=work, attempt=own, texts=texts, signing_key=settings.signing_key)
            place = Place(attempt.folder, volumes, ports, settings.environment, rank=rank)
            plans.append(plan_pod(spec, place, deadline=seconds_left, memory_period=settings.memory_period))
        return plans[0] if count == 1 else together(plans)

    def _finish(self, failed: GiveUp | None, attempts: int) -> None:
        folder = self.folder / "attempts" / str(attempts)
        summary = read_summary(folder, self._worker)
        problem = None
        if failed is not None:
            problem = explain_failure(failed, folder, summary, attempts=attempts)
        elif summary is None or summary.result != Result.SUCCEEDED:
            problem = explain_missing_summary(folder, self._worker)
        if problem is None:
            with in_plain_words(self.folder):
                for work in self.folder.glob(f"{WORK}*"):
                    shutil.rmtree(work, ignore_errors=True)
            self._write(Done(phase=JobPhase.SUCCEEDED, attempt=attempts))
        else:
            self._fail(attempts, problem)

    def _fail(self, attempt: int, problem: Problem) -> None:
        self._write(Done(phase=JobPhase.FAILED, attempt=attempt, reason=problem.reason, message=problem.message))

    def _write(self, done: Done) -> None:
        write_atomically(self.folder / DONE_FILE, done.pretty())
        self._done = done

    def _read_done(self) -> Done | None:
        found = read_json(self.folder / DONE_FILE)
        return None if found is None else Done.parse(found)


def read_jobs(folder: Path) -> dict[Path, Job]:
    """The Jobs of a namespace's folder."""
    return {path: Job(path, record) for path, record in read_owned(folder).items()}
