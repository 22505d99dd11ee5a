"""The `plumbline` command as people and scripts use it: what it says, where, and with which exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from plumbline_api.names import ExitCode
from plumbline_operator.cli.yamltext import write_yaml
from plumbline_operator.main import run_command
from tests.support import build
from tests.support.programs import program

pytestmark = pytest.mark.local

RUN = build.run(stages=2)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a manifest, its inputs, and trainers that succeed."""
    (tmp_path / "init").mkdir()
    (tmp_path / "init/config.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text("{}\n")
    (tmp_path / "run.yaml").write_text(write_yaml([RUN.dump()]))
    program(tmp_path / "bin", "plumbline-trainer", "out=hello succeed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLUMBLINE_LOCAL_BIN", str(tmp_path / "bin"))
    return tmp_path


def plumbline(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "plumbline_operator", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def finished(place: Path) -> None:
    """Run the manifest once."""
    done = plumbline("run", "-f", "run.yaml")
    assert done.returncode == 0, done.stderr


def test_a_run_shows_its_stages_ends_with_a_table_and_exits_zero(place: Path) -> None:
    done = plumbline("run", "-f", "run.yaml")
    assert done.returncode == 0, done.stderr
    assert "alr/base s0: Succeeded" in done.stdout
    assert "all 2 stages succeeded" in done.stdout


def test_running_it_again_starts_nothing(place: Path) -> None:
    finished(place)
    starts = place / "bin/plumbline-trainer.starts"
    before = starts.read_text()
    again = plumbline("run", "-f", "run.yaml")
    assert (again.returncode, starts.read_text()) == (0, before)


def test_a_dry_run_says_what_would_be_done_and_makes_nothing(place: Path) -> None:
    done = plumbline("run", "-f", "run.yaml", "--dry-run")
    assert "would apply AlignmentRun/base: stages s0 (sft), s1 (sft)" in done.stdout
    assert not (place / ".plumbline").exists()


def test_what_failed_is_told_with_its_cause_and_its_exit_code(place: Path) -> None:
    program(place / "bin", "plumbline-trainer", f"fail={ExitCode.BAD_DATA}")
    done = plumbline("run", "-f", "run.yaml")
    assert done.returncode == ExitCode.BAD_DATA
    assert "rows.jsonl:7: chosen equals rejected" in done.stdout


def test_a_retry_goes_on_where_it_failed(place: Path) -> None:
    program(place / "bin", "plumbline-trainer", f"fail={ExitCode.BAD_DATA}")
    assert plumbline("run", "-f", "run.yaml").returncode == ExitCode.BAD_DATA
    program(place / "bin", "plumbline-trainer", "succeed")
    done = plumbline("retry", "alr", "base")
    assert done.returncode == 0, done.stderr
    assert "all 2 stages succeeded" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "-f", "absent.yaml"], ExitCode.BAD_SPEC, "absent.yaml:1: No such file or directory"),
        (["run"], ExitCode.BAD_SPEC, "Missing option"),
        (["get", "alx"], ExitCode.BAD_SPEC, "alx: is not a kind; did you mean alr?"),
        (["describe", "alr", "nobody"], ExitCode.BAD_SPEC, "AlignmentRun nobody: does not exist"),
        (["retry", "gin", "served"], ExitCode.BAD_SPEC, "cannot be retried"),
        (["serve", "nobody"], ExitCode.BAD_SPEC, "GuardedInference nobody: does not exist"),
        (["delete"], ExitCode.BAD_SPEC, "give KIND and NAME, or -f FILE"),
        (["lineage", "alr", "nobody"], ExitCode.BAD_SPEC, "does not exist"),
        (["get", "-o", "xml"], ExitCode.BAD_SPEC, "is not an output"),
    ],
)
def test_a_wrong_argument_is_one_sentence_with_the_remedy(
    place: Path, arguments: Sequence[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(place)
    assert run_command(arguments) == code
    complaint = capsys.readouterr().err
    assert words in complaint
    assert "Traceback" not in complaint


def test_every_problem_of_a_manifest_is_told_with_file_line_and_nearest_name(place: Path) -> None:
    text = (place / "run.yaml").read_text().replace("learningRate:", "learningRat:", 1).replace("seed: 0", "seed: x")
    (place / "run.yaml").write_text(text)
    done = plumbline("validate", "-f", "run.yaml")
    assert done.returncode == ExitCode.BAD_SPEC
    assert "did you mean learningRate?" in done.stderr
    assert "spec.seed" in done.stderr
    assert all(line.startswith(("run.yaml:", "plumbline:")) for line in done.stderr.splitlines())


def test_a_folder_without_manifests_is_refused(place: Path) -> None:
    (place / "empty").mkdir()
    done = plumbline("validate", "-f", "empty")
    assert (done.returncode, "has no manifests" in done.stderr) == (ExitCode.BAD_SPEC, True)


def test_an_empty_folder_can_become_the_state_directory(place: Path) -> None:
    (place / "fresh").mkdir()
    done = plumbline("run", "-f", "run.yaml", "--state", "fresh", "--dry-run")
    assert (done.returncode, "would apply AlignmentRun" in done.stdout) == (ExitCode.OK, True)


def test_get_speaks_table_yaml_json_and_names(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(place)
    assert run_command(["get"]) == 0
    assert "alr/base" in capsys.readouterr().out
    assert run_command(["get", "alr", "base", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"]["phase"] == "Succeeded"
    assert run_command(["get", "-o", "yaml"]) == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["metadata"]["name"] == "base"
    assert 'learningRate: "1e-3"' in text, "what is printed can be applied again"
    assert run_command(["get", "-o", "name"]) == 0
    assert capsys.readouterr().out == "alr/base\n"


def test_describe_logs_and_events_tell_the_story(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(place)
    assert run_command(["describe", "alr", "base"]) == 0
    said = capsys.readouterr().out
    assert "Succeeded=True" in said
    assert "Stage:  s1 (sft)  Succeeded" in said
    assert run_command(["logs", "alr", "base", "-c", "worker", "--tail", "1"]) == 0
    assert "hello" in capsys.readouterr().out
    assert run_command(["events", "alr"]) == 0
    assert "stage s0 succeeded" in capsys.readouterr().out


def test_deleting_by_file_removes_the_objects(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(place)
    assert plumbline("delete", "-f", "run.yaml").returncode == 0
    assert run_command(["get"]) == 0
    assert "no objects" in capsys.readouterr().out


def test_a_changed_run_is_refused_and_replaced_on_demand(place: Path) -> None:
    finished(place)
    (place / "run.yaml").write_text((place / "run.yaml").read_text().replace("maxSteps: 2", "maxSteps: 3"))
    refused = plumbline("run", "-f", "run.yaml")
    assert refused.returncode == ExitCode.BAD_SPEC
    assert "plumbline run --replace" in refused.stderr
    assert plumbline("run", "-f", "run.yaml", "--replace").returncode == 0


def test_a_second_run_on_the_same_state_refuses_and_names_the_first(place: Path) -> None:
    program(place / "bin", "plumbline-trainer", "save-on-term hang")
    first = subprocess.Popen(
        [sys.executable, "-m", "plumbline_operator", "run", "-f", "run.yaml"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert any("Running" in line for line in iter(first.stdout.readline, "")), "the first run never began"
        second = plumbline("run", "-f", "run.yaml")
        assert second.returncode == ExitCode.UNAVAILABLE
        assert str(first.pid) in second.stderr
    finally:
        first.terminate()
        first.communicate(timeout=30)
    assert first.returncode == ExitCode.PREEMPTED


def test_help_is_there_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == 0
    listing = capsys.readouterr().out
    for command in ("run", "serve", "validate", "get", "describe", "logs", "events", "delete", "retry", "lineage"):
        assert command in listing
        assert run_command([command, "--help"]) == 0
        assert "Usage: plumbline" in capsys.readouterr().out


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["version"]) == 0
    assert capsys.readouterr().out.startswith("plumbline 0.")


def test_output_into_a_closed_pipe_is_no_error(place: Path) -> None:
    finished(place)
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.run(
        [sys.executable, "-m", "plumbline_operator", "get", "-o", "yaml"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert "Traceback" not in child.stderr
