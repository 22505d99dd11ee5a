"""Our programs, as they run in pods, with an object store that has TLS, accounts, and bad moments."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason
from plumbline_operator.main import run_command
from tests.support.objectstore import Asked, ObjectStore, Refusal, no_fault, run_object_store
from tests.support.tiny_stage import Bench, make_bench
from tests.support.trainer_program import PATIENCE, Program

pytestmark = [pytest.mark.local, pytest.mark.filterwarnings("ignore")]  # the libraries warn about each other

URI = "s3://models/plumbline"
OPTIONS = {"lora": {"r": 4}, "maxSteps": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with run_object_store(tmp_path_factory.mktemp("object-store")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {**server.environment(), "AWS_MAX_ATTEMPTS": "2"}.items():
            patch.setenv(name, value)
        boto3.Session().client("s3", config=Config(request_checksum_calculation="when_required")).create_bucket(
            Bucket="models"
        )
        yield server


@pytest.fixture(scope="module")
def bench(server: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"), store_uri=URI)


def fail(program: Program, **environment: str) -> tuple[int, str]:
    with program.start(**environment) as child:
        _, err = child.communicate(timeout=PATIENCE)
    return child.returncode, err


def test_a_stage_whose_model_cannot_be_published_publishes_it_in_the_next_attempt(
    bench: Bench, server: ObjectStore, tmp_path: Path
) -> None:
    program = Program(tmp_path, bench.run_file("sft", OPTIONS, name="down"))

    def down(asked: Asked) -> Refusal | None:
        return Refusal("503 Service Unavailable", "ServiceUnavailable") if asked.method == "PUT" else None

    server.fault = down
    try:
        code, said = fail(program)
    finally:
        server.fault = no_fault
    assert (code, program.summary.reason) == (ExitCode.UNAVAILABLE, Reason.DEPENDENCY_UNAVAILABLE)
    assert "the object store cannot do it at the moment" in program.summary.message
    assert not [secret for secret in server.accounts.values() if secret in said]
    assert "publishing its model" in program.run()
    output = program.summary.output
    assert output is not None
    assert output.uri == URI
    bench.store.verify(output.digest)
    parents = {parent.digest for parent in bench.store.manifest(output.digest).parents}
    assert parents == {bench.model, bench.data["sft"]}


def test_a_stage_killed_with_its_work_folder_goes_on_from_the_checkpoint_in_the_store(
    bench: Bench, server: ObjectStore, tmp_path: Path
) -> None:
    store, orders = (
        bench.store,
        bench.run_file("sft", {"lora": {"r": 4}, "maxSteps": 24, "saveSteps": 4}, name="killed"),
    )
    program = Program(tmp_path, orders)
    begun = len(server.requests)

    def kept() -> bool:
        """Whether a checkpoint is complete in the store: what it replaces is looked for after that."""
        return any(asked.method == "GET" and "drafts" in asked.query for asked in server.requests[begun:])

    code = program.stop_when(kept, signal.SIGKILL)
    assert code == -signal.SIGKILL
    shutil.rmtree(program.folder / "work")
    said = program.run()
    step = re.search(r"checkpoint-(\d+) of an earlier attempt was in the store", said)
    assert step is not None, said
    assert f"resuming at step {step[1]}" in said
    assert store.drafts.restore(orders.cache_key, tmp_path / "after") is None, "what is done needs no checkpoint"
    output = program.summary.output
    assert output is not None
    store.verify(output.digest)


def test_a_stage_without_credentials_ends_at_once_and_says_what_is_missing(
    bench: Bench, tmp_path: Path, server: ObjectStore
) -> None:
    program = Program(tmp_path, bench.run_file("sft", OPTIONS, name="nobody"))
    code, _ = fail(program, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert (code, program.summary.reason) == (ExitCode.BAD_CONFIG, Reason.BAD_CONFIGURATION)
    assert "there are no credentials for the object store" in program.summary.message


def test_files_are_pushed_into_a_bucket_and_traced_there(
    server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "init").mkdir()
    (tmp_path / "init/config.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "run.yaml").write_text(MANIFEST)
    push = ["push", "-f", "run.yaml", "--store", "s3://models/pushed", "--into", "inputs.yaml"]
    assert run_command(push) == ExitCode.OK
    assert "s3://models/pushed is a new store" in capsys.readouterr().out
    assert run_command(push) == ExitCode.OK
    told = capsys.readouterr().out
    assert told.count("in the store already") == 2
    found = re.search(r"sha256:[0-9a-f]{64}", told)
    assert found is not None
    assert run_command(["lineage", found[0], "--store", "s3://models/pushed"]) == ExitCode.OK
    assert run_command(["lineage", "alr", "first", "--store", "s3://models/pushed"]) == ExitCode.BAD_SPEC
    assert run_command(["lineage", found[0], "--store", "s3://nowhere/pushed"]) == ExitCode.BAD_CONFIG
    assert "there is no such bucket" in capsys.readouterr().err


MANIFEST = """apiVersion: plumbline.dev/v1alpha1
kind: AlignmentRun
metadata: {name: first}
spec:
  model: {file: {path: init}}
  stages:
    - name: sft
      sft: {dataset: {file: {path: data.jsonl}}, learningRate: "1e-4", epochs: "1"}
"""
