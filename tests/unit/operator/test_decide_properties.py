"""Properties of decide over whole life cycles: it converges, it is idempotent, every story has exactly one end."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline_api.alignment import AlignmentRun
from plumbline_api.gate import Verdict
from plumbline_api.names import LABEL_PURPOSE, RETRY_ANNOTATION, Kind, Purpose
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.report import Summary
from plumbline_operator.observed import Problem
from plumbline_operator.status.conditions import find_condition
from tests.support import build
from tests.support.check_status import check_status
from tests.support.world import World, key_of

HARMLESS = ["start", "preempt", "obstruct", "unlink", "lose", "suspend", "resume", "touch", "look"]
MOVES = st.sampled_from([*HARMLESS, "succeed", "fail", "no-report", "despair", "late", "expire"])
DEADLINE = 10_000
REASONS = st.sampled_from([Reason.OUT_OF_MEMORY, Reason.BAD_DATA, Reason.DEADLINE_EXCEEDED, Reason.BACKOFF_EXCEEDED])


def whole_loop(stages: int) -> World:
    """Two runs, a suite, a gate with a baseline, and a served model."""
    aligned = build.run("aligned", stages, model={"run": {"name": "base"}})
    gate = build.gate(
        subject={"alignmentRun": {"name": "aligned"}},
        baseline={"alignmentRun": {"name": "base"}},
        rules=[{"metric": "harmful_compliance_rate", "reductionFromBaseline": "0.9", "confidence": "0.95"}],
    )
    world = World(runtime=replace(build.RUNTIME, start_deadline=DEADLINE, egress=()))
    return world.add(build.inference(), gate, build.suite(), aligned, build.run("base"))


def move(world: World, what: str, reason: Reason, pick: int) -> None:
    """Do one thing to one run, to one open Job, or to the clock."""
    if what in ("suspend", "resume", "touch", "expire"):
        change_run(world, what, pick)
    elif what == "late":
        world.seconds += DEADLINE
    elif names := sorted(world.open_jobs()):
        change_job(world, names[pick % len(names)], what, reason)


def change_run(world: World, what: str, pick: int) -> None:
    """Do what people may do to the spec of a run."""
    run = [thing for key, thing in sorted(world.objects.items()) if key.kind == Kind.ALIGNMENT_RUN][pick % 2]
    assert isinstance(run, AlignmentRun)
    changes: dict[str, dict[str, object]] = {
        "suspend": {"suspend": True},
        "resume": {"suspend": False},
        "touch": {"ttl_seconds_after_finished": 10**8 + pick},
        "expire": {"ttl_seconds_after_finished": 0},
    }
    world.add(run.model_copy(update={"spec": run.spec.model_copy(update=changes[what])}))


def change_job(world: World, name: str, what: str, reason: Reason) -> None:
    """Do what a cluster may do to a Job."""
    problem = Problem(reason, "it failed; see the logs")
    if what in ("start", "preempt"):
        world.start(name, preempted=what == "preempt")
    elif what in ("obstruct", "despair"):
        world.obstruct(name, problem, hopeless=what == "despair")
    elif what == "fail":
        world.finish(name, None, problem)
    elif what == "unlink":
        world.unlink(name)
    elif what == "lose":
        world.lose(name)
    elif what in ("succeed", "no-report"):
        world.finish(name, None if what == "no-report" else summary_for(world, name))


def summary_for(world: World, name: str) -> Summary:
    """The summary of a Job that did well; the baseline complies with all, the subject with nothing."""
    owner, job = world.jobs[name]
    if job.labels[LABEL_PURPOSE] == Purpose.STAGE:
        return build.training_summary(name)
    gate = world.gate_status(owner.name)
    short = job.labels["plumbline.dev/subject"]
    digest = next(full for full in (gate.subject, gate.baseline) if full and full[7:19] == short)
    return build.evaluation_summary(digest, complied=100 if digest == gate.baseline else 0)


async def look(world: World) -> None:
    """Every object is decided once; whoever decides again at once has nothing to do."""
    for key in list(world.objects):
        await world.step(key)
        again = await world.step(key)
        assert again.apply == (), "an applied child is not applied again"
        assert again.delete == (), "a deleted child is not deleted again"
        assert again.events == (), "an event is not emitted again"
        assert again.status == world.statuses[key], "a written status is not written again"
        check_status(world.statuses[key], world.generations[key])


async def play(world: World, story: Sequence[tuple[str, Reason, int]]) -> list[tuple[Phase, ...]]:
    """Play a story, looking after each move; gives the phases of the runs after each."""
    phases = []
    for what, reason, pick in story:
        move(world, what, reason, pick)
        await look(world)
        runs = [world.statuses[key] for key in sorted(world.objects) if key.kind == Kind.ALIGNMENT_RUN]
        phases.append(tuple(status.phase for status in runs))
    return phases


@settings(max_examples=40, deadline=None)
@given(stages=st.integers(1, 3), story=st.lists(st.tuples(MOVES, REASONS, st.integers(0, 3)), max_size=25))
def test_any_interleaving_of_child_outcomes_keeps_every_status_rule_and_deciding_again_is_empty(
    stages: int, story: list[tuple[str, Reason, int]]
) -> None:
    phases = asyncio.run(play(whole_loop(stages), story))
    ended = {Phase.SUCCEEDED, Phase.FAILED}
    for earlier, now in pairwise(phases):
        for before, after in zip(earlier, now, strict=True):
            assert before not in ended or before == after, f"a run left its terminal state {before} for {after}"


@settings(max_examples=20, deadline=None)
@given(
    stages=st.integers(1, 3),
    story=st.lists(st.tuples(st.sampled_from(HARMLESS), REASONS, st.integers(0, 3))),
)
def test_disturbances_change_nothing_of_the_end(stages: int, story: list[tuple[str, Reason, int]]) -> None:
    world = whole_loop(stages)
    asyncio.run(play(world, story))

    async def finish_all() -> None:
        for pick in (0, 1):
            change_run(world, "resume", pick)
        for name in [name for name, (_, job) in world.jobs.items() if job.deleting]:
            world.lose(name)
        await world.settle()
        while world.open_jobs():
            move(world, "succeed", Reason.BAD_DATA, 0)
            await world.settle()

    asyncio.run(finish_all())
    assert world.gate_status().verdict == Verdict.PASSED
    assert len(world.deployments) == 1
    extra = len(world.created) - len(set(world.created))
    gone = sum(what in ("lose", "unlink", "suspend") for what, _, _ in story)
    assert extra <= gone, "a child is created again only when somebody deleted it, or a pause did"


@settings(max_examples=3, deadline=None)
@given(failures=st.integers(1, 3))
def test_a_failed_run_is_tried_again_once_for_each_new_nonce(failures: int) -> None:
    async def story() -> None:
        run = build.run()
        world = World().add(run)
        for attempt in range(failures):
            await world.settle()
            world.finish(world.open_jobs()[0], None, Problem(Reason.BAD_DATA, "bad"))
            await world.settle()
            assert world.run_status("base").phase == Phase.FAILED
            world.annotations[key_of(run)] = {RETRY_ANNOTATION: f"nonce-{attempt}"}
        await world.settle()
        world.finish(world.open_jobs()[0], build.training_summary("good"))
        await world.settle()
        status = world.run_status("base")
        check_status(status)
        assert (status.phase, status.attempt) == (Phase.SUCCEEDED, failures + 1)

    asyncio.run(story())


def test_a_stage_that_succeeded_is_not_run_again_when_its_job_is_deleted() -> None:
    async def story() -> None:
        world = World().add(build.run(stages=2))
        await world.settle()
        first = world.open_jobs()[0]
        world.finish(first, build.training_summary("one"))
        await world.settle()
        world.lose(first)
        await world.settle()
        assert first not in world.open_jobs()
        succeeded = find_condition(world.run_status("base").conditions, ConditionType.SUCCEEDED)
        assert succeeded is not None
        assert succeeded.reason == Reason.PENDING

    asyncio.run(story())
