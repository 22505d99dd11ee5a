"""`plumbline push` without a cluster: into a store, and into a manifest that a git repository can hold."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_api.artifact import MediaType
from plumbline_api.names import ExitCode
from plumbline_operator.kube.seen.inputs import read_table
from plumbline_operator.main import run_command
from plumbline_store import open_store

pytestmark = pytest.mark.local

RUN = """\
apiVersion: plumbline.dev/v1alpha1
kind: AlignmentRun
metadata: {name: base}
spec:
  model: {file: {path: init}}
  stages:
    - {name: s0, sft: {dataset: {file: {path: data.jsonl}}, learningRate: "1e-3", maxSteps: 2}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a manifest and its files, far from any cluster."""
    (tmp_path / "init").mkdir()
    (tmp_path / "init/config.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "run.yaml").write_text(RUN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("PLUMBLINE_STORE", (tmp_path / "store").as_uri())
    return tmp_path


def push(*options: str) -> int:
    return run_command(["push", "-f", "run.yaml", *options])


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def contents(folder: Path) -> dict[str, int]:
    """Every file of a store and when it was last written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_is_named_is_published_and_a_manifest_says_where(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("--into", "inputs.yaml") == ExitCode.OK
    told = capsys.readouterr().out
    assert "store is a new store" in told
    assert re.search(r"model init: sha256:[0-9a-f]{64}, 2 bytes, uploaded", told)
    assert "ConfigMap plumbline-inputs of namespace default: 2 new, 0 changed, 0 as they were" in told
    (made,) = documents(place / "inputs.yaml")
    table = read_table(made, "default")
    store = open_store((place / "store").as_uri())
    assert isinstance(table, Mapping)
    assert store.manifest(table["init"]).media_type == MediaType.MODEL
    assert store.read_file(table["data.jsonl"], "data.jsonl") == (place / "data.jsonl").read_bytes()


def test_a_second_push_uploads_and_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push("--into", "inputs.yaml")
    before = contents(place / "store") | contents(place / "inputs.yaml")
    capsys.readouterr()
    assert push("--into", "inputs.yaml") == ExitCode.OK
    told = capsys.readouterr().out
    assert told.count("in the store already") == 2
    assert "0 new, 0 changed, 2 as they were" in told
    assert contents(place / "store") | contents(place / "inputs.yaml") == before


def test_entries_of_others_and_what_people_added_stay(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push("--into", "inputs.yaml")
    (made,) = documents(place / "inputs.yaml")
    made["metadata"] |= {"labels": {"team": "a"}, "resourceVersion": "7"}
    made["data"]["inputs.yaml"] += f"theirs: sha256:{'0' * 64}\n"
    (place / "inputs.yaml").write_text(yaml.safe_dump(made))
    (place / "data.jsonl").write_text('{"prompt": "c", "completion": "d"}\n')
    assert push("--into", "inputs.yaml") == ExitCode.OK
    told = capsys.readouterr().out
    assert "data.jsonl was sha256:" in told
    assert "0 new, 1 changed, 2 as they were" in told
    (after,) = documents(place / "inputs.yaml")
    assert after["metadata"] == {"name": "plumbline-inputs", "namespace": "default", "labels": {"team": "a"}}
    assert "theirs: sha256:000" in after["data"]["inputs.yaml"]


def test_a_second_namespace_has_a_table_of_its_own_in_the_file(place: Path) -> None:
    push("--into", "inputs.yaml")
    assert push("--into", "inputs.yaml", "-n", "research") == ExitCode.OK
    one, other = documents(place / "inputs.yaml")
    assert (one["metadata"]["namespace"], other["metadata"]["namespace"]) == ("default", "research")
    assert one["data"] == other["data"]


def test_a_dry_run_tells_and_changes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("--into", "inputs.yaml", "--dry-run") == ExitCode.OK
    told = capsys.readouterr().out
    assert told.count("would be uploaded") == 2
    assert told.endswith("nothing was changed\n")
    assert not (place / "store").exists()
    assert not (place / "inputs.yaml").exists()


def test_a_damaged_artifact_is_healed_by_pushing_again(place: Path) -> None:
    push("--into", "inputs.yaml")
    blob = next(path for path in (place / "store/blobs").rglob("*") if path.is_file())
    blob.unlink()
    assert push("--into", "inputs.yaml") == ExitCode.OK
    assert blob.is_file()


@pytest.mark.parametrize(
    ("change", "options", "code", "words"),
    [
        (lambda place: (place / "data.jsonl").unlink(), ["--into", "in.yaml"], ExitCode.BAD_SPEC,
         "run.yaml:7: spec.stages[0].sft.dataset.file.path: data.jsonl does not exist; create it, or correct"),
        (lambda place: (place / "init/model.bin").touch(), ["--into", "in.yaml"], ExitCode.BAD_DATA,
         "run.yaml:5: spec.model.file.path: {place}/init/model.bin: files of this kind can run code"),
        (lambda place: (place / "store").write_text("no folder"), ["--into", "in.yaml"], ExitCode.BAD_CONFIG,
         "plumbline: {place}/store: Not a directory"),
        (lambda place: (place / "in.yaml").write_text("kind: Pod"), ["--into", "in.yaml"], ExitCode.BAD_SPEC,
         "--into in.yaml: holds something else than ConfigMap plumbline-inputs"),
        (lambda place: (place / "in.yaml").write_text("a: b: c"), ["--into", "in.yaml"], ExitCode.BAD_SPEC,
         "--into in.yaml: cannot be read"),
        (lambda place: (place / "in.yaml").write_text(
            "{kind: ConfigMap, metadata: {name: plumbline-inputs}, data: {inputs.yaml: '[]'}}"),
         ["--into", "in.yaml"], ExitCode.BAD_DATA, "is not a mapping of paths to digests; correct or delete it"),
        (lambda place: None, ["--store", "s4://bucket", "--into", "in.yaml"], ExitCode.BAD_CONFIG,
         "s4://bucket: this store cannot be opened"),
        (lambda place: None, ["--store", "", "--into", "in.yaml"], ExitCode.BAD_SPEC, "--store: no store is named"),
        (lambda place: None, ["-n", "a/b", "--into", "in.yaml"], ExitCode.BAD_SPEC, "'a/b' is no namespace's name"),
        (lambda place: None, ["--apply", "--into", "in.yaml"], ExitCode.BAD_SPEC, "not both"),
        (lambda place: None, [], ExitCode.UNAVAILABLE, "no credentials for the API server; run in a pod, or set KUBE"),
    ],
    ids=["file missing", "model that runs code", "store no folder", "another manifest", "no YAML", "no table",
         "unknown store", "no store", "no namespace", "two places", "no cluster"],
)  # fmt: skip
def test_what_cannot_be_done_is_said_with_a_remedy_and_nothing_is_written(
    place: Path, capsys: pytest.CaptureFixture[str], change: Any, options: list[str], code: int, words: str
) -> None:
    change(place)
    before = {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert push(*options) == code
    assert words.format(place=place) in capsys.readouterr().err
    assert {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_manifests_that_name_no_file_need_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "run.yaml").write_text(
        RUN.replace("file: {path: init}", "run: {name: earlier}").split("  stages")[0]
        + """\
  stages: [{name: s0, sft: {dataset: {file: {path: data.jsonl}}, learningRate: "1e-3", maxSteps: 2}}]
"""
    )
    assert push("--into", "inputs.yaml") == ExitCode.OK, "that the earlier run is not here is no problem"
    (place / "run.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: rules}}")
    assert push("--into", "inputs.yaml") == ExitCode.OK
    assert "there is nothing to push" in capsys.readouterr().out
