"""The exit code of a command that waited for objects."""

import asyncio

import pytest

from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason
from plumbline_operator.cli.endings import exit_code
from plumbline_operator.observed import Problem
from tests.support import build
from tests.support.world import World


def settled(world: World) -> World:
    asyncio.run(world.settle())
    return world


def ended(problem: Problem | None) -> int:
    world = settled(World().add(build.run()))
    world.finish(world.open_jobs()[0], build.training_summary("model"), problem)
    return exit_code(settled(world).statuses.values())


def test_what_is_ready_ends_with_0() -> None:
    assert ended(None) == ExitCode.OK


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.BAD_DATA, ExitCode.BAD_DATA),
        (Reason.UNSUPPORTED_BY_RUNTIME, ExitCode.BAD_SPEC),
        (Reason.DEPENDENCY_UNAVAILABLE, ExitCode.UNAVAILABLE),
        (Reason.OUT_OF_MEMORY, ExitCode.INTERNAL),
    ],
)
def test_a_failure_ends_with_the_code_of_its_reason(reason: Reason, code: int) -> None:
    assert ended(Problem(reason, "it failed")) == code


def test_what_is_suspended_and_what_waits_for_it_ends_as_what_was_interrupted() -> None:
    world = World().add(build.run(suspend=True), build.run("later", model={"run": {"name": "base"}}))
    assert exit_code(settled(world).statuses.values()) == ExitCode.PREEMPTED
    assert exit_code([world.run_status("base")]) == ExitCode.PREEMPTED
