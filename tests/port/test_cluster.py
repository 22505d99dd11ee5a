"""What the Cluster port promises, held by local mode with real processes."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from plumbline_api.names import LABEL_SUITE, RETRY_ANNOTATION, Image, Kind
from plumbline_api.reasons import Reason
from plumbline_operator.decision import Event, EventType
from plumbline_operator.local.records import key_of
from plumbline_operator.observed import ChildRef, JobPhase, Key
from tests.port.place import OWNER, exists, job_child, open_place, parent_of, sidecar, submit, until, until_true, worker
from tests.support import build, planned
from tests.support.programs import program

pytestmark = pytest.mark.local


async def test_objects_statuses_and_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        (key,) = await place.cluster.keys()
        before = await place.sight()
        assert (key, before.generation, before.children, before.jobs) == (OWNER, 1, frozenset(), ())
        status = before.status.model_copy(update={"observed_generation": 1})
        await place.cluster.write_status(key, status)
        for _ in range(2):
            await place.cluster.emit(key, Event(EventType.NORMAL, Reason.RUNNING, "stage s0 started"))
        assert (await place.sight()).status == status
        (event,) = place.cluster.records.events(key)
        assert (event.count, event.message) == (2, "stage s0 started")
        assert await place.cluster.observe(Key(Kind.EVAL_GATE, "default", "nobody")) is None


async def test_a_job_runs_and_its_summary_and_progress_come_back(tmp_path: Path) -> None:
    async with open_place(tmp_path, "out=hello err=world step=40 succeed") as place:
        await submit(place)
        state = await place.ended()
        assert state.phase == JobPhase.SUCCEEDED
        assert state.summary == build.training_summary("made")
        assert state.progress is not None
        assert state.progress.number("step") == 40
        log = tmp_path / "state/jobs/default/job/attempts/1/logs/worker.log"
        assert log.read_text() == "hello\nworld\n"
        assert not (tmp_path / "state/jobs/default/job/work").exists()
        assert (await place.sight()).children == {ChildRef("Job", "job"), ChildRef("ConfigMap", "job")}


async def test_applying_a_job_again_starts_nothing(tmp_path: Path) -> None:
    async with open_place(tmp_path, "succeed") as place:
        await submit(place)
        await submit(place)
        await place.ended()
        await submit(place)
        await asyncio.sleep(0.1)
        assert len(place.started()) == 1


async def test_a_container_sees_its_files_its_variables_and_nothing_of_its_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    engine = sidecar()
    main = worker(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(NONE)-$$(A)"}])
    main["args"] += ["--target", "http://127.0.0.1:$(PLUMBLINE_PORT_ENGINE)/v1", "--path=/plumbline/workshop"]
    program(tmp_path / "bin", "plumbline-engine", "listen=ENGINE")
    async with open_place(tmp_path, "dump succeed") as place:
        await submit(place, containers=[main], sidecars=[engine])
        assert (await place.ended()).phase == JobPhase.SUCCEEDED
    seen = json.loads((tmp_path / "bin/plumbline-trainer.seen").read_text())
    folder = tmp_path / "state/jobs/default/job"
    run_file = folder / "attempts/1/volumes/run/run.json"
    assert seen["argv"][1:6] == ["run", "--file", str(run_file), "--work", str(folder / "work")]
    assert json.loads(run_file.read_text()) == {"order": 1}
    port = seen["env"]["PLUMBLINE_PORT_ENGINE"]
    assert seen["argv"][6:] == ["--target", f"http://127.0.0.1:{port}/v1", "--path=/plumbline/workshop"]
    assert port != "8000"
    assert (seen["env"]["A"], seen["env"]["B"]) == ("1", "1-$(NONE)-$(A)")
    assert seen["env"]["PATH"].startswith(str(tmp_path / "bin"))
    assert not {"SOME_API_KEY", "https_proxy", "VIRTUAL_ENV"} & set(seen["env"])


@pytest.mark.parametrize(
    ("code", "reason"),
    [(64, Reason.BAD_SPEC), (65, Reason.BAD_DATA), (77, Reason.NOT_PERMITTED), (78, Reason.BAD_CONFIGURATION)],
)
async def test_a_hopeless_exit_code_fails_the_job_at_once(tmp_path: Path, code: int, reason: Reason) -> None:
    async with open_place(tmp_path, f"out=why exit={code}") as place:
        await submit(place)
        state = await place.ended()
        assert state.phase == JobPhase.FAILED
        assert state.problem is not None
        assert state.problem.reason == reason
        assert "worker.log:1" in state.problem.message
        assert "why" not in state.problem.message
        assert len(place.started()) == 1


async def test_the_summary_gives_the_reason_of_a_failure(tmp_path: Path) -> None:
    async with open_place(tmp_path, "fail=65") as place:
        await submit(place)
        problem = (await place.ended()).problem
        assert problem is not None
        assert problem.message.startswith("rows.jsonl:7: chosen equals rejected; correct the row")


async def test_other_failures_are_tried_again_until_none_is_left(tmp_path: Path) -> None:
    async with open_place(tmp_path, "exit=70") as place:
        await submit(place, backoff=2)
        problem = (await place.ended()).problem
        assert problem is not None
        assert problem.reason == Reason.BACKOFF_EXCEEDED
        assert "(attempt 3, the last)" in problem.message
        assert len(place.started()) == 3


async def test_a_failure_that_passes_does_not_fail_the_job(tmp_path: Path) -> None:
    async with open_place(tmp_path, "touch=checkpoint exit=69", "need=checkpoint succeed") as place:
        await submit(place)
        assert (await place.ended()).phase == JobPhase.SUCCEEDED


async def test_a_preempted_attempt_resumes_in_the_same_work_folder_and_does_not_count(tmp_path: Path) -> None:
    async with open_place(tmp_path, "touch=checkpoint exit=75", "exit=75", "need=checkpoint succeed") as place:
        await submit(place, backoff=0)
        assert (await place.ended()).phase == JobPhase.SUCCEEDED
        assert len(place.started()) == 3


@pytest.mark.parametrize("plan", ["exit=0", "garbage"])
async def test_a_good_end_without_a_readable_summary_is_a_failure(tmp_path: Path, plan: str) -> None:
    async with open_place(tmp_path, plan) as place:
        await submit(place)
        state = await place.ended()
        assert state.phase == JobPhase.FAILED
        assert state.problem is not None
        assert state.problem.reason == Reason.REPORT_INVALID


async def test_a_missing_program_is_told_with_the_remedy(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await submit(place, containers=[worker(program_name="plumbline-nothing")])
        problem = (await place.ended()).problem
        assert problem is not None
        assert problem.reason == Reason.BAD_CONFIGURATION
        assert "plumbline-nothing is not installed" in problem.message


async def test_a_volume_that_local_mode_lacks_is_refused(tmp_path: Path) -> None:
    async with open_place(tmp_path, "succeed") as place:
        maps, made = job_child()
        made.manifest["spec"]["template"]["spec"]["volumes"].append({"name": "nfs", "nfs": {"server": "x"}})
        await place.cluster.apply(OWNER, maps)
        await place.cluster.apply(OWNER, made)
        problem = (await place.ended()).problem
        assert problem is not None
        assert problem.reason == Reason.UNSUPPORTED_BY_RUNTIME


async def test_a_deadline_ends_all_attempts_together(tmp_path: Path) -> None:
    async with open_place(tmp_path, "sleep=0.4 exit=70", "hang") as place:
        began = time.monotonic()
        await submit(place, deadline=1, grace=0.2)
        problem = (await place.ended()).problem
        assert problem is not None
        assert problem.reason == Reason.DEADLINE_EXCEEDED
        assert 0.9 < time.monotonic() - began < 3
        assert len(place.started()) == 2


async def test_what_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    async with open_place(tmp_path, "ignore-term step=1 hang") as place:
        await submit(place, grace=0.3)
        await until(place.job, lambda state: state.progress is not None)
        began = time.monotonic()
        await place.cluster.workload.close()
        assert 0.25 < time.monotonic() - began < 2
        state = await place.job()
        assert (state.phase, state.preempted) == (JobPhase.RUNNING, True)


async def test_what_heeds_sigterm_is_not_killed_and_resumes_later(tmp_path: Path) -> None:
    async with open_place(tmp_path, "save-on-term step=1 touch=checkpoint hang", "need=checkpoint succeed") as place:
        await submit(place, grace=20)
        await until(place.job, lambda state: state.progress is not None)
        await place.cluster.workload.close()
        assert (await place.job()).preempted
    async with open_place(tmp_path) as place:
        place.cluster.workload.resume(frozenset([OWNER]))
        assert (await place.ended()).phase == JobPhase.SUCCEEDED
        assert len(place.started()) == 2


async def test_exceeding_the_memory_limit_is_out_of_memory(tmp_path: Path) -> None:
    greedy = worker()
    greedy["resources"]["limits"]["memory"] = "64Mi"
    async with open_place(tmp_path, "eat=200 hang", memory_period=0.02) as place:
        await submit(place, containers=[greedy], backoff=0)
        problem = (await place.ended()).problem
        assert problem is not None
        assert problem.reason == Reason.OUT_OF_MEMORY
        assert "the limit is 64 MiB" in problem.message


async def test_staying_below_the_memory_limit_is_fine(tmp_path: Path) -> None:
    modest = worker()
    modest["resources"]["limits"]["memory"] = "64Mi"
    async with open_place(tmp_path, "eat=20 sleep=0.2 succeed", memory_period=0.02) as place:
        await submit(place, containers=[modest])
        assert (await place.ended()).phase == JobPhase.SUCCEEDED


async def test_what_a_container_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    async with open_place(tmp_path, "fork succeed") as place:
        await submit(place)
        assert (await place.ended()).phase == JobPhase.SUCCEEDED
    # open_place has looked for leftovers


async def test_a_sidecar_is_up_before_the_worker_starts_and_ends_after_it(tmp_path: Path) -> None:
    notes = tmp_path / "bin/plumbline-engine.notes"
    program(tmp_path / "bin", "plumbline-engine", "note-on-term=engine-ended listen-until=ENGINE")
    async with open_place(tmp_path, "sleep=0.2 succeed") as place:
        await submit(place, sidecars=[sidecar()])
        await until_true(lambda: place.started("plumbline-engine"))
        await asyncio.sleep(0.3)
        assert place.started() == []
        (tmp_path / "bin/plumbline-engine.ready").touch()
        await until_true(place.started)
        assert not notes.exists()
        assert (await place.ended()).phase == JobPhase.SUCCEEDED
        assert notes.read_text() == "engine-ended\n"


async def test_a_sidecar_that_never_comes_up_fails_the_attempt(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "hang")
    async with open_place(tmp_path, "succeed") as place:
        await submit(place, sidecars=[sidecar(failures=3)], backoff=0, grace=0.1)
        problem = (await place.ended()).problem
        assert problem is not None
        assert "container engine did not come up" in problem.message
        assert place.started() == []


async def test_a_sidecar_that_ends_early_ends_the_attempt(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "exit=65")
    async with open_place(tmp_path, "succeed") as place:
        await submit(place, sidecars=[sidecar()], backoff=0)
        problem = (await place.ended()).problem
        assert problem is not None
        assert problem.reason == Reason.BAD_DATA
        assert "container engine ended with 65" in problem.message


async def test_jobs_wait_for_cores_and_ports_differ(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plumbline-engine", "listen=ENGINE")
    two_cores = worker()
    two_cores["resources"]["requests"]["cpu"] = "1500m"
    async with open_place(tmp_path, "note=begin sleep=0.3 note=end succeed") as place:
        for name in ("one", "two"):
            await submit(place, name, containers=[two_cores], sidecars=[sidecar()])
        await until_true(place.started)
        phases = {(await place.job(name)).phase for name in ("one", "two")}
        assert phases == {JobPhase.RUNNING, JobPhase.PENDING}
        for name in ("one", "two"):
            assert (await place.ended(name)).phase == JobPhase.SUCCEEDED
    assert (tmp_path / "bin/plumbline-trainer.notes").read_text().split() == ["begin", "end"] * 2


async def test_small_jobs_run_beside_each_other(tmp_path: Path) -> None:
    async with open_place(tmp_path, "hang") as place:
        for name in ("one", "two"):
            await submit(place, name)
        await until_true(lambda: len(place.started()) == 2)


async def test_deleting_a_job_ends_its_processes_and_removes_it(tmp_path: Path) -> None:
    async with open_place(tmp_path, "save-on-term step=1 hang") as place:
        await submit(place)
        await until(place.job, lambda state: state.progress is not None)
        (pid,) = place.started()
        for _ in range(2):
            await place.cluster.delete(OWNER, ChildRef("Job", "job"))
        assert not exists(pid)
        assert (await place.sight()).children == {ChildRef("ConfigMap", "job")}
        assert not (tmp_path / "state/jobs/default/job").exists()


async def test_a_job_that_waits_for_cores_is_deleted_at_once(tmp_path: Path) -> None:
    both_cores = worker()
    both_cores["resources"]["requests"]["cpu"] = "2"
    async with open_place(tmp_path, "hang") as place:
        for name in ("one", "two"):
            await submit(place, name, containers=[both_cores])
        await until_true(place.started)
        await place.cluster.delete(OWNER, ChildRef("Job", "two"))
        assert [job.name for job in (await place.sight()).jobs] == ["one"]


async def test_a_job_that_is_stopped_while_it_starts_ends(tmp_path: Path) -> None:
    async with open_place(tmp_path, "hang") as place:
        await submit(place)
        await asyncio.sleep(0)
        await place.cluster.workload.close()


async def test_a_job_at_work_for_programs_that_were_updated_is_retired_and_one_that_has_ended_stays(
    tmp_path: Path,
) -> None:
    async with open_place(tmp_path, "succeed", "hang") as place:
        await submit(place, "ended")
        await place.ended("ended")
        await submit(place, "old")
        current = worker() | {"image": (await place.sight()).runtime.images[Image.TRAINER]}
        await submit(place, "current", containers=[current])
        await until_true(lambda: len(place.started()) == 3)
        await place.cluster.retire([OWNER])
        assert [job.name for job in (await place.sight()).jobs] == ["current", "ended"]


async def test_children_that_mean_nothing_here_are_kept_so_that_nobody_asks_for_them_again(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for child in planned.serving(build.RUNTIME, replicas=2)[:-2]:
            await place.cluster.apply(OWNER, child)
        kinds = {ref.kind for ref in (await place.sight()).children}
        assert kinds == {"Service", "NetworkPolicy", "PodDisruptionBudget"}
        for ref in (await place.sight()).children:
            await place.cluster.delete(OWNER, ref)
        assert (await place.sight()).children == set()


async def test_another_owners_child_is_not_deleted(tmp_path: Path) -> None:
    async with open_place(tmp_path, "succeed") as place:
        await submit(place)
        await place.ended()
        await place.cluster.delete(Key(Kind.EVAL_GATE, "default", "base"), ChildRef("Job", "job"))
        assert (await place.sight()).children == {ChildRef("Job", "job"), ChildRef("ConfigMap", "job")}


async def test_a_suite_sees_the_jobs_that_execute_it(tmp_path: Path) -> None:
    async with open_place(tmp_path, "succeed") as place:
        place.cluster.records.keep(build.suite(), file=str(tmp_path / "suite.yaml"), uid="2", now=build.NOON)
        await submit(place, labels={LABEL_SUITE: "attacks"})
        await place.ended()
        assert [job.name for job in (await place.sight(key_of(build.suite()))).jobs] == ["job"]


async def test_inputs_are_imported_once_and_a_missing_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init/config.json").write_text("{}")
    async with open_place(tmp_path) as place:
        found = (await place.sight()).inputs
        model, data = found["model"].resolved, found["stages/s0/dataset"].problem
        assert model is not None
        assert model.uri == (tmp_path / "state/store").as_uri()
        assert data is not None
        assert data.reason == Reason.NOT_FOUND
        assert str(tmp_path / "data.jsonl") in data.message
        assert str(tmp_path / "run.yaml") in data.message


async def test_objects_that_an_object_names_are_observed_with_it(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for thing in (build.suite(), build.gate(), build.inference()):
            place.cluster.records.keep(thing, file=str(tmp_path / "all.yaml"), uid="3", now=build.NOON)
        gate = await place.sight(key_of(build.gate()))
        assert (set(gate.runs), set(gate.suites)) == ({"base"}, {"attacks"})
        assert set((await place.sight(key_of(build.inference()))).gates) == {"gate"}


async def test_annotations_of_commands_are_seen_beside_those_of_the_manifest(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        records = place.cluster.records
        record = records.record("AlignmentRun", "default", "base")
        assert record is not None
        changed = record.model_copy(update={"annotations": {RETRY_ANNOTATION: "1"}})
        records.write("AlignmentRun", "default", "base", changed)
        records.keep(build.run(), file=str(tmp_path / "run.yaml"), uid="4", now=build.NOON)
        assert (await place.sight()).annotations == {RETRY_ANNOTATION: "1"}


@pytest.mark.parametrize("victim", ["pod", "container"])
async def test_killing_a_process_of_an_attempt_duplicates_nothing_and_loses_nothing(
    tmp_path: Path, victim: str
) -> None:
    async with open_place(tmp_path, "touch=checkpoint step=1 hang", "need=checkpoint succeed") as place:
        await submit(place)
        await until(place.job, lambda state: state.progress is not None)
        (container,) = place.started()
        os.kill(parent_of(container) if victim == "pod" else container, signal.SIGKILL)
        assert (await place.ended()).phase == JobPhase.SUCCEEDED
        assert len(place.started()) == 2
        assert not exists(container)
