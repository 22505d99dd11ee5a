"""A stage of several nodes on one machine: groups of processes that begin, end and are tried again together."""

import json
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.reasons import Reason
from plumbline_operator.local.podplan import PodResult
from plumbline_operator.observed import JobPhase, JobState
from tests.port.place import OWNER, Place, open_place
from tests.support import build, planned

pytestmark = pytest.mark.local


async def run_stage(place: Place, nodes: int = 2) -> JobState:
    """The Job of a stage as it is planned, once it has ended."""
    children = planned.stage(build.RUNTIME, compute={"nodes": nodes, "cpu": "500m"})
    for child in children:
        await place.cluster.apply(OWNER, child)
    return await place.ended(children[-1].ref.name)


def folder_of(place: Place) -> Path:
    (folder,) = (place.folder / "state/jobs/default").iterdir()
    return folder


def seen(place: Place, node: int) -> dict[str, Any]:
    text = (place.programs / f"plumbline-trainer.seen{node or ''}").read_text()
    return dict(json.loads(text)["env"], argv=json.loads(text)["argv"])


async def test_nodes_know_each_other_and_the_first_tells_how_it_went(tmp_path: Path) -> None:
    async with open_place(tmp_path, "dump as=0 sleep=0.3 succeed as=1 out=here hang as=2 hang") as place:
        state = await run_stage(place, 3)
        first, *others = (seen(place, node) for node in range(3))
        folder = folder_of(place)
    assert (state.phase, state.summary) == (JobPhase.SUCCEEDED, build.training_summary("made"))
    assert {env["PET_NNODES"] for env in (first, *others)} == {"3"}
    assert [env["PET_NODE_RANK"] for env in (first, *others)] == ["0", "1", "2"]
    assert {env["PET_MASTER_ADDR"] for env in (first, *others)} == {"127.0.0.1"}
    ports = {env["PET_MASTER_PORT"] for env in (first, *others)}
    assert ports == {first["PLUMBLINE_PORT_MASTER"]}
    assert ports != {"29500"}
    assert len({env["argv"][-1] for env in (first, *others)}) == 3
    assert (folder / "attempts/1/logs/worker-1.log").read_text() == "here\n"
    assert list(folder.glob("work*")) == []


async def test_a_node_that_fails_ends_all_and_all_begin_again_where_they_were(tmp_path: Path) -> None:
    async with open_place(tmp_path, "as=0 touch=steps save-on-term as=1 first=70 as=0 finish-in=8 succeed") as place:
        state = await run_stage(place)
        results = [PodResult.read(path.read_text()) for path in sorted(folder_of(place).glob("attempts/*/result.json"))]
    assert state.phase == JobPhase.SUCCEEDED
    assert [(result.container, result.exit_code) for result in results] == [("worker-1", 70), ("worker", 0)]


@pytest.mark.parametrize("peer", ["hang", "sleep=0.2 exit=75"], ids=["goes on", "loses its peer"])
async def test_a_node_that_cannot_be_helped_fails_the_stage(tmp_path: Path, peer: str) -> None:
    async with open_place(tmp_path, f"as=0 save-on-term {peer} as=1 fail=65") as place:
        state = await run_stage(place)
    assert state.phase == JobPhase.FAILED
    assert state.problem is not None
    assert state.problem.reason == Reason.BAD_DATA
    assert "worker-1" in state.problem.message


async def test_nodes_that_are_told_to_stop_are_tried_again(tmp_path: Path) -> None:
    async with open_place(tmp_path, "first=75 as=0 succeed as=1 hang") as place:
        state = await run_stage(place)
        count = len(list(folder_of(place).glob("attempts/*")))
    assert (state.phase, count >= 2) == (JobPhase.SUCCEEDED, True)
