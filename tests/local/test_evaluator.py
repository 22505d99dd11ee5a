"""The evaluator as a program: killed, told to stop, given bad orders; and what it leaves behind."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from plumbline_api.names import ENV_PROGRESS, ENV_TERMINATION_LOG, ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_api.runfile import RunFile
from tests.support.evaluations import run_file, suite
from tests.support.target_server import DIGEST, TargetServer, comply

pytestmark = pytest.mark.local

PROGRAM = Path(sys.executable).with_name("plumbline-evaluator")
CONCURRENCY = 4
CASES = 80


@dataclass
class Job:
    """A folder with orders, and the program that follows them."""

    folder: Path

    @property
    def summary(self) -> Summary:
        return Summary.read((self.folder / "summary.json").read_bytes())

    def order(self, run: RunFile | None = None) -> None:
        spec = suite(samples={"minPerCategory": CASES // 4}, generation={"concurrency": CONCURRENCY, "retries": 0})
        (self.folder / "run.json").write_text((run or run_file(self.folder / "store", spec)).pretty())

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        places = {ENV_TERMINATION_LOG: self.folder / "summary.json", ENV_PROGRESS: self.folder / "progress.jsonl"}
        environment = os.environ | {name: str(place) for name, place in places.items()}
        return await asyncio.create_subprocess_exec(
            PROGRAM, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )

    async def run(self, url: str, *arguments: str) -> asyncio.subprocess.Process:
        work = self.folder / "work"
        return await self.start(
            "run", "--file", f"{self.folder}/run.json", "--work", str(work), "--target", url, *arguments
        )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    job.order()
    return job


async def test_an_evaluation_killed_again_and_again_asks_hardly_anything_twice(job: Job) -> None:
    async with TargetServer(reply=comply, delay=0.02) as target:
        for count in (10, 30, 55):
            process = await job.run(target.url)
            await target.until_asked(count)
            process.kill()
            await process.communicate()
        process = await job.run(target.url)
        _, errors = await process.communicate()
    assert process.returncode == ExitCode.OK, errors.decode()
    assert len(target.asked) <= CASES + 3 * CONCURRENCY
    assert job.summary.coverage is not None
    assert (job.summary.coverage.judged, job.summary.coverage.errors) == (CASES, 0)


async def test_an_evaluation_told_to_stop_exits_75_and_goes_on_later(job: Job) -> None:
    async with TargetServer(reply=comply, delay=0.02) as target:
        process = await job.run(target.url)
        await target.until_asked(30)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == ExitCode.PREEMPTED
        assert (job.summary.result, job.summary.reason) == (Result.PREEMPTED, Reason.PREEMPTED)
        process = await job.run(target.url)
        await process.communicate()
    assert process.returncode == ExitCode.OK
    assert len(target.asked) <= CASES + CONCURRENCY
    assert job.summary.result is Result.SUCCEEDED


async def test_an_interrupted_evaluation_measures_what_an_undisturbed_one_does(job: Job, tmp_path: Path) -> None:
    other = Job(tmp_path / "other")
    other.folder.mkdir()
    other.order()
    async with TargetServer(reply=comply, delay=0.01) as target:
        process = await job.run(target.url)
        await target.until_asked(40)
        process.kill()
        await process.communicate()
        for each in (job, other):
            await (await each.run(target.url)).communicate()
    same = {"rows", "outcomes", "cases", "judges"}
    assert job.summary.model_dump(include=same) == other.summary.model_dump(include=same)


async def test_no_word_of_a_case_or_an_answer_is_logged(job: Job) -> None:
    async with TargetServer(reply=comply) as target:
        output = b"".join(await (await job.run(target.url)).communicate()).decode()
        output += (job.folder / "summary.json").read_text() + (job.folder / "progress.jsonl").read_text()
    assert "cases judged" in output
    assert not [body for body in target.asked if body["messages"][-1]["content"] in output]
    assert "Task created" not in output


async def test_orders_that_cannot_be_read_exit_64_and_name_the_field(job: Job) -> None:
    text = (job.folder / "run.json").read_text()
    (job.folder / "run.json").write_text(text.replace('"threads": 1', '"threads": "one"'))
    process = await job.run("http://127.0.0.1:9/v1")
    await process.communicate()
    assert process.returncode == ExitCode.BAD_SPEC
    assert job.summary.reason is Reason.BAD_SPEC
    assert "threads: Input should be a valid integer" in job.summary.message


async def test_a_target_with_another_model_exits_65(job: Job) -> None:
    async with TargetServer(digest="sha256:" + "9" * 64) as target:
        process = await job.run(target.url)
        await process.communicate()
    assert process.returncode == ExitCode.BAD_DATA
    assert job.summary.reason is Reason.DIGEST_MISMATCH
    assert DIGEST in job.summary.message


async def test_an_absent_target_exits_69(job: Job) -> None:
    process = await job.run("http://127.0.0.1:9/v1", "--wait", "0")
    await process.communicate()
    assert process.returncode == ExitCode.UNAVAILABLE
    assert "look at the log of the engine" in job.summary.message


async def test_a_work_folder_that_cannot_be_made_exits_78(job: Job) -> None:
    (job.folder / "work").write_text("a file")
    async with TargetServer() as target:
        process = await job.run(target.url)
        await process.communicate()
    assert process.returncode == ExitCode.BAD_CONFIG
    assert str(job.folder / "work") in job.summary.message


async def test_counting_the_cases_of_a_suite_shows_numbers_and_no_text(job: Job) -> None:
    manifest = {"apiVersion": "plumbline.dev/v1alpha1", "kind": "RedTeamSuite", "metadata": {"name": "s"}}
    text = RunFile.read((job.folder / "run.json").read_bytes()).work.red_team
    assert text is not None
    (job.folder / "suite.yaml").write_text(str(manifest | {"spec": text.dump()}))
    process = await job.start("cases", "--suite", f"{job.folder}/suite.yaml")
    output, errors = await process.communicate()
    assert process.returncode == ExitCode.OK, errors.decode()
    lines = output.decode().splitlines()
    assert lines[1].split() == ["held_out_phrasings", "privacy_violations", "direct", "20", "20"]
    assert lines[-2].split() == ["all", "40", "40"]


async def test_the_judge_prints_its_precision_and_recall(job: Job) -> None:
    process = await job.start("judge", "--calibrate")
    output, _ = await process.communicate()
    assert process.returncode == ExitCode.OK
    assert [line.split()[0] for line in output.decode().splitlines()[2:4]] == ["development", "held-out"]
