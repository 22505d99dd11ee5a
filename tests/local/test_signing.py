"""Real programs with signed artifacts: nothing unsigned or damaged is trained from or served, wherever it lies."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from plumbline_api.names import ENV_SIGNING_KEY, ENV_TERMINATION_LOG, ENV_TRUST, ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Summary
from plumbline_operator.cli.yamltext import write_yaml
from plumbline_operator.main import run_command
from plumbline_store import open_store
from plumbline_store.signing import Trust
from tests.support.engine_process import Stored, engine_command, running
from tests.support.evaluations import run_file
from tests.support.objectstore import run_object_store
from tests.support.signing import Pair, make_pair
from tests.support.tiny_stage import Bench, dialogue_rows, make_bench, write_jsonl
from tests.support.trainer_program import PATIENCE, Program
from tests.unit.store.places import BucketPlaces, FolderPlaces, Places, flip

pytestmark = [pytest.mark.local, pytest.mark.filterwarnings("ignore")]  # the libraries warn about each other

OPTIONS = {"lora": {"r": 4}, "maxSteps": 2}


@dataclass(frozen=True)
class Site:
    """A store with a tiny model and data, and a key pair."""

    bench: Bench
    places: Places
    pair: Pair

    @property
    def environment(self) -> dict[str, str]:
        return {ENV_TRUST: self.pair.public, ENV_SIGNING_KEY: str(self.pair.key_file)}

    def sign_inputs(self) -> None:
        for digest in (self.bench.model, self.bench.data["sft"]):
            self.bench.store.sign(digest, self.pair.key)

    def program(self, folder: Path, name: str) -> Program:
        return Program(folder, self.bench.run_file("sft", OPTIONS, name=name))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bench(tmp_path_factory.mktemp("tiny")).folder / "model"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketPlaces]:
    with run_object_store(tmp_path_factory.mktemp("object-store")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        client = boto3.Session().client("s3", config=Config(request_checksum_calculation="when_required"))
        client.create_bucket(Bucket="models")
        yield BucketPlaces(client, "models")


@pytest.fixture(params=["file", "s3"])
def site(request: pytest.FixtureRequest, tiny: Path, tmp_path: Path) -> Site:
    places: Places = FolderPlaces(tmp_path / "store")
    if request.param == "s3":
        places = request.getfixturevalue("bucket")
        for key in places.keys():
            places.remove(key)
    bench = make_bench(tmp_path, model=tiny, store_uri=places.uri)
    return Site(bench, places, make_pair(tmp_path / "keys"))


def refusal(program: Program, environment: dict[str, str]) -> Summary:
    """How a stage ended that must not train."""
    with program.start(**environment) as child:
        _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == ExitCode.BAD_DATA, said
    assert "starting torch" not in (program.folder / "progress").read_text()
    assert "PRIVATE" not in said
    return program.summary


def engine_refusal(site: Site, folder: Path) -> Summary:
    """How an engine ended that must not serve."""
    folder.mkdir()
    environment = {**os.environ, ENV_TRUST: site.pair.public, ENV_TERMINATION_LOG: str(folder / "summary")}
    command = engine_command(Stored(site.places.uri, site.bench.model, folder), folder)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == ExitCode.BAD_DATA, done.stderr
    assert not list(folder.glob("engine-*"))
    return Summary.read((folder / "summary").read_bytes())


def test_what_is_unsigned_or_damaged_is_neither_trained_from_nor_served(site: Site, tmp_path: Path) -> None:
    bench, model = site.bench, site.bench.model
    for found in (
        refusal(site.program(tmp_path / "a", "unsigned"), site.environment),
        engine_refusal(site, tmp_path / "b"),
    ):
        assert found.reason is Reason.SIGNATURE_INVALID
        assert f"model {model} in {bench.store.uri}: it is not signed by any trusted key" in found.message
    bench.store.sign(model, site.pair.key)
    found = refusal(site.program(tmp_path / "c", "half"), site.environment)
    assert (found.reason, f"dataset {bench.data['sft']}" in found.message) == (Reason.SIGNATURE_INVALID, True)
    site.sign_inputs()
    weights = next(file for file in bench.store.manifest(model).files if file.path.endswith(".safetensors"))
    blob = f"blobs/sha256/{weights.sha256[:2]}/{weights.sha256}"
    whole = site.places.get(blob)
    flip(site.places, blob, len(whole) - 1)
    found = refusal(site.program(tmp_path / "d", "damaged"), site.environment)
    assert found.reason is Reason.DIGEST_MISMATCH
    site.places.put(blob, whole)
    flip(site.places, blob, len(whole) - 1)
    assert engine_refusal(site, tmp_path / "e").reason is Reason.DIGEST_MISMATCH


def test_an_evaluation_of_an_unsigned_model_does_not_wait_for_its_engine(tiny: Path, tmp_path: Path) -> None:
    bench, pair = make_bench(tmp_path, model=tiny), make_pair(tmp_path / "keys")
    orders = run_file(tmp_path / "store", inputs={"model": {"uri": bench.store.uri, "digest": bench.model}})
    (tmp_path / "run.json").write_text(orders.pretty())
    command = [
        "plumbline-evaluator",
        "run",
        "--file",
        "run.json",
        "--work",
        "work",
        "--target",
        "http://127.0.0.1:9/v1",
    ]
    environment = {**os.environ, ENV_TRUST: pair.public, ENV_TERMINATION_LOG: str(tmp_path / "summary")}
    program = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run([program, *command[1:]], env=environment, cwd=tmp_path, timeout=PATIENCE, check=False)
    found = Summary.read((tmp_path / "summary").read_bytes())
    assert (done.returncode, found.reason) == (ExitCode.BAD_DATA, Reason.SIGNATURE_INVALID)


RUN = {"apiVersion": "plumbline.dev/v1alpha1", "kind": "AlignmentRun", "metadata": {"name": "signed"}}
SPEC = {
    "model": {"file": {"path": "model"}},
    "stages": [
        {"name": "first", "sft": {"dataset": {"file": {"path": "rows.jsonl"}}, "learningRate": "1e-3", "maxSteps": 1}}
    ],
}
SIGN = {"output": {"sign": {"secret": "release-key"}}}


@pytest.fixture
def place(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A folder with a manifest, its inputs and keys, in which commands are run."""
    (tmp_path / "model").symlink_to(tiny)
    write_jsonl(tmp_path / "rows.jsonl", dialogue_rows(8))
    (tmp_path / "run.yaml").write_text(write_yaml([{**RUN, "spec": SPEC | SIGN}]))
    (tmp_path / "unsigned.yaml").write_text(write_yaml([{**RUN, "spec": SPEC}]))
    monkeypatch.chdir(tmp_path)
    return make_pair(tmp_path)


def test_a_run_signs_what_it_makes_for_all_who_trust_its_key(
    place: Pair, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["--trust", "signing.pub", "--sign-with", "signing.key"]
    assert run_command(["run", "-f", "unsigned.yaml", *keys]) == ExitCode.BAD_SPEC
    assert "spec.output.sign is missing" in capfd.readouterr().out
    assert run_command(["delete", "alr", "signed"]) == ExitCode.OK
    assert run_command(["run", "-f", "run.yaml", "--trust", "signing.pub"]) == ExitCode.BAD_SPEC
    assert "name the file with the signing key" in capfd.readouterr().out
    assert run_command(["retry", "alr", "signed", *keys]) == ExitCode.OK, capfd.readouterr()
    uri = (tmp_path / ".plumbline/store").as_uri()
    assert run_command(["lineage", "alr", "signed"]) == ExitCode.OK
    made = re.findall(r"model (sha256:[0-9a-f]{64})", capfd.readouterr().out)
    assert len(set(made)) == 2, "what it made, and the base"
    for digest in made:
        assert run_command(["verify", digest, "--store", uri, "--trust", "signing.pub"]) == ExitCode.OK
    monkeypatch.setenv(ENV_TRUST, place.public)
    with running(Stored(uri, made[0], tmp_path), tmp_path / "engine") as engine:
        deadline = time.monotonic() + PATIENCE
        while not list((tmp_path / "engine").glob("engine-*/config.json")):
            assert engine.process.poll() is None, "".join(engine.log)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        engine.process.kill()  # that it can load what it was given is for other tests


def test_artifacts_are_signed_when_they_are_pushed_and_where_they_lie(
    place: Pair, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (tmp_path / "store").as_uri()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    push = ["push", "-f", "run.yaml", "--store", uri, "--into", "inputs.yaml"]
    assert run_command([*push, "--sign-with", "signing.pub"]) == ExitCode.BAD_CONFIG
    assert not (tmp_path / "store").exists(), "a wrong key is told before anything is published"
    assert run_command(push) == ExitCode.OK
    model, _ = found = re.findall(r"sha256:[0-9a-f]{64}", capfd.readouterr().out)[:2]
    verify = ["--store", uri, "--trust", "signing.pub"]
    assert run_command(["verify", model, *verify]) == ExitCode.BAD_DATA
    assert "not signed by any trusted key" in capfd.readouterr().err
    assert run_command(["sign", model, "--store", uri, "--key", "signing.key"]) == ExitCode.OK
    assert run_command([*push, "--sign-with", "signing.key"]) == ExitCode.OK
    told = capfd.readouterr().out
    assert f"{model} was signed already by sha256:{place.key.name[:12]}" in told
    for digest in found:
        assert run_command(["verify", digest, *verify]) == ExitCode.OK
    both = ["--key", "signing.key", "--signature", "signing.pub"]
    assert run_command(["sign", model, "--store", uri, *both]) == ExitCode.BAD_SPEC
    assert run_command(["sign", model, "--store", uri, "--signature", "nowhere"]) == ExitCode.BAD_SPEC
    (made,) = (tmp_path / "store/signatures/sha256" / model.removeprefix("sha256:")).iterdir()
    (tmp_path / "carried.sig").write_bytes(made.read_bytes())
    made.unlink()
    assert run_command(["sign", model, "--store", uri, "--signature", "carried.sig"]) == ExitCode.OK
    assert run_command(["verify", model, *verify]) == ExitCode.OK
    other = make_pair(tmp_path, "other").public_file.name
    assert run_command(["verify", model, "--store", uri, "--trust", other]) == ExitCode.BAD_DATA
    assert run_command(["verify", model, *verify, "--trust", other]) == ExitCode.OK
    wary = open_store(uri, Trust.read([place.public_file]))
    assert wary.read_file(model, "config.json")
