"""What a session promises the command line: apply, refuse, run, retry, delete, and tell."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.alignment import AlignmentRunStatus
from plumbline_api.configmap import ConfigMap
from plumbline_api.names import ExitCode
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_operator.local.controller import Snapshot
from plumbline_operator.local.errors import (
    NewerState,
    NoSpace,
    NotServable,
    ObjectMissing,
    SpecChanged,
    StateBusy,
    StateUnusable,
)
from plumbline_operator.local.reader import open_reader
from plumbline_operator.local.records import Applied, key_of
from plumbline_operator.local.session import ManifestObject, Session, open_session
from plumbline_operator.observed import PlumblineObject
from plumbline_operator.status.conditions import find_condition
from tests.port.place import left_running, local_settings
from tests.support import build
from tests.support.programs import program, starts

pytestmark = pytest.mark.local

RUN = key_of(build.run())
LABEL = "AlignmentRun/default/base"


@asynccontextmanager
async def session_in(folder: Path, **changes: Any) -> AsyncIterator[Session]:
    settings = local_settings(folder, **changes)
    async with open_session(folder / "state", settings, wait=0, on_wait=lambda _: None) as session:
        yield session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that `build.run()` names."""
    (tmp_path / "init").mkdir()
    (tmp_path / "init/config.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text("{}\n")
    return tmp_path


def entry(folder: Path, document: PlumblineObject | ConfigMap) -> ManifestObject:
    return ManifestObject(document, folder / "run.yaml")


async def settle(session: Session, *things: PlumblineObject) -> Snapshot:
    return await session.run_until_settled([key_of(thing) for thing in things], lambda _: None)


def status_of(snapshot: Snapshot) -> AlignmentRunStatus:
    status = snapshot.views[RUN].status
    assert isinstance(status, AlignmentRunStatus)
    return status


async def test_a_run_comes_to_rest_and_everything_can_be_read_afterwards(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "out=hello step=50 succeed")
    async with session_in(folder) as session:
        assert await session.apply([entry(folder, build.run(stages=2))]) == {LABEL: Applied.CREATED}
        seen: list[Snapshot] = []
        snapshot = await session.run_until_settled([RUN], seen.append)
        assert status_of(snapshot).phase == Phase.SUCCEEDED
        assert len(seen) > 2
    reader = open_reader(folder / "state")
    assert reader.keys() == (RUN,)
    assert reader.status(RUN) == status_of(snapshot)
    assert reader.object(RUN) == build.run(stages=2)
    assert [log.path.read_text() for log in reader.logs(RUN)] == ["hello\n"] * 2
    assert [job.phase.value for job in reader.jobs(RUN)] == ["Succeeded"] * 2
    assert "all 2 stages succeeded" in [event.message for event in reader.events(RUN)]
    assert left_running(folder) == []


async def test_a_run_that_is_at_rest_starts_nothing_again(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    for expected in (Applied.CREATED, Applied.UNCHANGED):
        async with session_in(folder) as session:
            assert await session.apply([entry(folder, build.run())]) == {LABEL: expected}
            assert status_of(await settle(session, build.run())).phase == Phase.SUCCEEDED
    assert len(starts(folder / "bin/plumbline-trainer")) == 1


async def test_a_changed_spec_of_a_run_is_refused_and_nothing_is_written(folder: Path) -> None:
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run(seed=1))])
        with pytest.raises(SpecChanged) as caught:
            await session.apply([entry(folder, build.suite()), entry(folder, build.run(seed=2))])
        assert session.keys() == (RUN,)
        assert session.object(RUN) == build.run(seed=1)
    told = str(caught.value)
    assert "spec.seed was 1 and is 2 now" in told
    assert told.count("sha256:") == 2
    assert "`plumbline delete alr base`" in told
    assert "--replace" in told
    assert caught.value.exit_code == ExitCode.BAD_SPEC


async def test_a_run_is_paused_resumed_and_cleaned_up_without_being_another_run(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run(suspend=True))])
        assert status_of(await settle(session, build.run())).phase == Phase.SUSPENDED
        assert starts(folder / "bin/plumbline-trainer") == []
        assert await session.apply([entry(folder, build.run())]) == {LABEL: Applied.CONFIGURED}
        assert status_of(await settle(session, build.run())).phase == Phase.SUCCEEDED
        await session.apply([entry(folder, build.run(ttlSecondsAfterFinished=0))])
        after = status_of(await settle(session, build.run()))
        assert (after.phase, after.output is not None) == (Phase.SUCCEEDED, True)
        assert session.jobs(RUN) == ()


async def test_a_gpu_is_refused_by_name_where_there_is_no_cluster(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run(compute={"gpu": {"count": 1}}))])
        (row,) = status_of(await settle(session, build.run())).stages
    assert row.reason == Reason.UNSUPPORTED_BY_RUNTIME
    assert "1 nvidia.com/gpu" in row.message


async def test_a_queue_changes_nothing_on_one_machine(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run(queue={"name": "gpus"}))])
        assert status_of(await settle(session, build.run())).phase == Phase.SUCCEEDED


async def test_changed_input_files_of_a_run_are_refused(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run())])
        await settle(session, build.run())
        (folder / "data.jsonl").write_text("{}\n{}\n")
        with pytest.raises(SpecChanged, match=r"input stages/s0/dataset \(.*data.jsonl\) had digest sha256:"):
            await session.apply([entry(folder, build.run())])
        (folder / "data.jsonl").unlink()
        assert await session.apply([entry(folder, build.run())]) == {LABEL: Applied.UNCHANGED}


async def test_replace_makes_the_run_anew(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run(seed=1))])
        await settle(session, build.run())
        before = session.record(RUN).uid
        assert await session.apply([entry(folder, build.run(seed=2))], replace=True) == {LABEL: Applied.CREATED}
        assert session.record(RUN).uid != before
        assert session.events(RUN) == ()
        assert status_of(await settle(session, build.run())).phase == Phase.SUCCEEDED
        assert len(session.jobs(RUN)) == 1


async def test_kinds_that_may_change_get_a_new_generation(folder: Path) -> None:
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.suite())])
        changed = build.suite(systemPrompt="Be brief.")
        done = await session.apply([entry(folder, changed)])
        assert list(done.values()) == [Applied.CONFIGURED]
        assert session.record(key_of(changed)).generation == 2


async def test_what_is_not_in_the_files_stays(folder: Path) -> None:
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.suite()), entry(folder, build.run())])
        await session.apply([entry(folder, build.run())])
        assert len(session.keys()) == 2


async def test_a_missing_input_is_told_and_found_again_once_it_is_there(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    (folder / "data.jsonl").rename(folder / "later.jsonl")
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run())])
        stalled = find_condition(status_of(await settle(session, build.run())).conditions, ConditionType.STALLED)
        assert stalled is not None
        assert stalled.reason == Reason.NOT_FOUND
        assert str(folder / "run.yaml") in stalled.message
        (folder / "later.jsonl").rename(folder / "data.jsonl")
        assert status_of(await settle(session, build.run())).phase == Phase.SUCCEEDED


async def test_retry_starts_a_failed_stage_again(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "fail=65", "succeed")
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run())])
        failed = status_of(await settle(session, build.run()))
        assert failed.stages[0].reason == Reason.BAD_DATA
        session.retry(RUN)
        again = status_of(await settle(session, build.run()))
        assert (again.phase, again.attempt) == (Phase.SUCCEEDED, 2)


async def test_delete_removes_the_object_and_keeps_what_it_made(folder: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    rules = ConfigMap.parse(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules"}, "data": {"a": "b"}}
    )
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run()), entry(folder, rules)])
        await settle(session, build.run())
        await session.delete("AlignmentRun", "default", "base")
        await session.delete("ConfigMap", "default", "rules")
        with pytest.raises(ObjectMissing, match="AlignmentRun base: does not exist"):
            await session.delete("AlignmentRun", "default", "base")
        assert session.keys() == ()
    left = [path for path in (folder / "state").rglob("*") if path.is_file() and path.is_relative_to(folder / "state")]
    assert {path.relative_to(folder / "state").parts[0] for path in left} == {"lock", "store", "version"}


async def test_a_gate_that_names_a_missing_run_comes_to_rest(folder: Path) -> None:
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.gate())])
        snapshot = await settle(session, build.gate())
        stalled = find_condition(snapshot.views[key_of(build.gate())].status.conditions, ConditionType.STALLED)
        assert stalled is not None
        assert stalled.reason == Reason.NOT_FOUND


async def test_what_did_not_pass_is_not_served(folder: Path) -> None:
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.inference())])
        with pytest.raises(NotServable, match="EvalGate gate, which does not exist"):
            await session.serve(key_of(build.inference()), lambda _: None)


async def test_a_second_session_refuses(folder: Path) -> None:
    async with session_in(folder):
        with pytest.raises(StateBusy):
            async with session_in(folder):
                pass


async def test_a_session_after_a_session_is_let_in(folder: Path) -> None:
    for _ in range(2):
        async with session_in(folder):
            pass


async def test_a_state_directory_of_a_newer_version_is_refused_untouched(folder: Path) -> None:
    async with session_in(folder):
        pass
    (folder / "state/version").write_text("2\n")
    with pytest.raises(NewerState) as caught:
        async with session_in(folder):
            pass
    assert str(caught.value) == (
        f"state directory {folder / 'state'}: was written by a newer plumbline (layout 2, this program knows 1); "
        "use that version or another --state"
    )
    with pytest.raises(NewerState):
        open_reader(folder / "state")


async def test_what_a_crash_left_half_written_is_removed(folder: Path) -> None:
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run())])
    left = [
        folder / "state/objects/AlignmentRun/default/.base.json.4711",
        folder / "state/status/AlignmentRun/default/.base.json.4711",
        folder / "state/events/.AlignmentRun.default.base.jsonl.4711",
        folder / "state/jobs/default/.old.removed/manifest.json",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    async with session_in(folder) as session:
        assert session.keys() == (RUN,)
    assert not [path for path in left if path.exists()]


async def test_a_folder_with_other_files_is_no_state_directory(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state/thesis.txt").write_text("precious")
    with pytest.raises(StateUnusable, match="neither empty nor a state directory"):
        async with session_in(folder):
            pass
    assert (folder / "state/thesis.txt").read_text() == "precious"


def test_reading_where_nothing_was_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="there is no state directory here; run `plumbline run -f FILE`"):
        open_reader(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


async def test_a_damaged_file_is_named(folder: Path) -> None:
    async with session_in(folder) as session:
        await session.apply([entry(folder, build.run())])
        path = folder / "state/objects/AlignmentRun/default/base.json"
        path.write_text('{"manifest":')
        with pytest.raises(StateUnusable, match=f"{path}: is damaged"):
            session.object(RUN)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 400 KiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "plumbline-test", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount the small file system that this test fills")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: S607


async def test_a_full_disk_is_told_and_loses_nothing(folder: Path, small_disk: Path) -> None:
    program(folder / "bin", "plumbline-trainer", "succeed")
    settings = local_settings(folder)
    ballast = small_disk / "ballast"

    async def run_once() -> Snapshot:
        async with open_session(small_disk / "state", settings, wait=0, on_wait=lambda _: None) as session:
            await session.apply([entry(folder, build.run())])
            return await settle(session, build.run())

    async with open_session(small_disk / "state", settings, wait=0, on_wait=lambda _: None) as session:
        await session.apply([entry(folder, build.run())])
    fill(ballast)
    with pytest.raises(NoSpace, match="no space left"):
        await run_once()
    for path in (small_disk / "state").rglob("*.json"):
        json.loads(path.read_text())
    ballast.unlink()
    assert status_of(await run_once()).phase == Phase.SUCCEEDED


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"x" * 4096)
        except OSError:
            return
