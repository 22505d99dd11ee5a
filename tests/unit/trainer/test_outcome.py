"""The summary a stage leaves: within its limits, written whole, and the only thing the operator reads."""

from pathlib import Path

from plumbline_api.names import SUMMARY_LIMIT_BYTES, ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_store import ArtifactMissing
from plumbline_trainer.failures import BadData, UnstableTraining
from plumbline_trainer.outcome import describe_failure, describe_preemption, library_versions, write_summary

KEY = "sha256:" + "1" * 64


def test_a_failure_is_told_with_its_reason_and_its_advice() -> None:
    summary = describe_failure(UnstableTraining("loss is nan at step 3", ("lower learningRate",)), KEY)
    assert (summary.result, summary.reason) == (Result.FAILED, Reason.BAD_SPEC)
    assert summary.message == "loss is nan at step 3. lower learningRate"


def test_a_failure_of_the_store_keeps_its_own_reason() -> None:
    assert describe_failure(ArtifactMissing("store", "gone", "publish it"), None).reason is Reason.NOT_FOUND


def test_a_long_message_is_cut_to_what_the_contract_holds(tmp_path: Path) -> None:
    summary = describe_failure(BadData("ä" * 5000), KEY)
    write_summary(summary, tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    assert len(data) <= SUMMARY_LIMIT_BYTES
    assert Summary.read(data) == summary


def test_a_summary_replaces_what_was_there_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old" * 1000)
    summary = describe_preemption("told to stop", KEY)
    write_summary(summary, tmp_path / "log")
    assert Summary.read((tmp_path / "log").read_bytes()) == summary
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_place_that_cannot_be_replaced_is_written_into(tmp_path: Path) -> None:
    # A folder stands where the scratch file would; as in a pod, only the file itself can be written.
    (tmp_path / ".log.new").mkdir()
    (tmp_path / ".log.new" / "x").touch()
    summary = describe_preemption("told to stop", None)
    write_summary(summary, tmp_path / "log")
    assert Summary.read((tmp_path / "log").read_bytes()) == summary


def test_every_library_that_computes_the_result_has_a_version() -> None:
    assert {"torch", "trl", "transformers", "peft"} <= set(library_versions())


def test_exit_codes_and_reasons_say_the_same() -> None:
    assert (BadData.exit_code, BadData.reason) == (ExitCode.BAD_DATA, Reason.BAD_DATA)
    assert (UnstableTraining.exit_code, UnstableTraining.reason) == (ExitCode.BAD_SPEC, Reason.BAD_SPEC)
