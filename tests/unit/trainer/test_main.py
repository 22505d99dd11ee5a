"""The command line without training: what ends before torch ends with the right code, reason and sentence."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_api.runfile import RunFile
from plumbline_store import FileReporter, Silence, open_store
from plumbline_trainer.failures import BadSpec, OutOfMemory, explain
from plumbline_trainer.main import attempt, read_run_file, run
from plumbline_trainer.settings import Settings, library_environment, read_settings
from plumbline_trainer.stopping import StopSwitch
from plumbline_trainer.world import Nodes
from tests.support.build import suite
from tests.support.tiny_model import TEMPLATE, make_tiny_tokenizer
from tests.support.tiny_stage import Bench, make_bench, pair_rows


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A model folder that passes every check made before torch; its weights are never read."""
    model = make_tiny_tokenizer(tmp_path / "model")
    (model / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (model / "model.safetensors").write_bytes(b"never read here")
    return make_bench(tmp_path, model=model)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def settings(folder: Path) -> Settings:
    return Settings(folder / "log", Silence())


def ended(orders: RunFile, folder: Path) -> tuple[Summary, int]:
    (folder / "run.json").write_text(orders.pretty())
    return attempt(folder / "run.json", folder / "work", settings(folder), StopSwitch())


def test_a_usage_error_is_a_bad_spec(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["run", "--file", "x"], StopSwitch())
    assert caught.value.code == ExitCode.BAD_SPEC
    assert "--work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Invalid JSON"),
        ("{}", "owner: Field required"),
        ('{"version": 2}', "version: Input should be 1"),
        ('{"unknownField": "private value"}', "unknownField: Extra inputs are not permitted"),
    ],
)
def test_a_run_file_that_cannot_be_read_names_its_fields(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadSpec) as caught:
        read_run_file(tmp_path / "run.json")
    assert "run.json" in str(caught.value)
    assert "private value" not in str(caught.value)
    if told.startswith(("Invalid", "owner", "version")):
        assert told in str(caught.value)


def test_an_absent_run_file_is_a_bad_spec(tmp_path: Path) -> None:
    summary, code = attempt(tmp_path / "none.json", tmp_path / "work", settings(tmp_path), StopSwitch())
    assert (summary.reason, code) == (Reason.BAD_SPEC, ExitCode.BAD_SPEC)


def test_work_of_another_program_is_refused(bench: Bench, tmp_path: Path) -> None:
    work = {"redTeam": suite().spec.dump()}
    other = RunFile.parse(bench.run_file("sft", {}, name="other").dump() | {"work": work})
    summary, code = ended(other, tmp_path)
    assert code == ExitCode.BAD_SPEC
    assert "this program trains" in summary.message


def test_a_missing_input_is_a_bad_spec(bench: Bench, tmp_path: Path) -> None:
    data = bench.run_file("sft", {}, name="missing").dump()
    del data["inputs"]["dataset"]
    summary, code = ended(RunFile.parse(data), tmp_path)
    assert code == ExitCode.BAD_SPEC
    assert "inputs.dataset: missing" in summary.message


def test_an_impossible_option_is_a_bad_spec(bench: Bench, tmp_path: Path) -> None:
    summary, code = ended(bench.run_file("dpo", {"loss": ["exo_pair"]}, name="exo"), tmp_path)
    assert (summary.reason, code) == (Reason.BAD_SPEC, ExitCode.BAD_SPEC)


def test_an_input_that_the_store_does_not_hold_is_not_found(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {}, name="lost", inputs={"dataset": "sha256:" + "0" * 64})
    summary, code = ended(orders, tmp_path)
    assert (summary.result, summary.reason, code) == (Result.FAILED, Reason.NOT_FOUND, ExitCode.BAD_DATA)


def test_an_input_altered_in_the_store_is_a_digest_mismatch(bench: Bench, tmp_path: Path) -> None:
    digest = bench.store.manifest(bench.data["sft"]).files[0].sha256
    blob = next(path for path in (tmp_path / "store").rglob(f"*{digest[2:]}") if path.is_file())
    blob.chmod(0o644)
    content = blob.read_bytes()
    blob.write_bytes(b"[" + content[1:])
    summary, code = ended(bench.run_file("sft", {}, name="altered"), tmp_path)
    assert (summary.reason, code) == (Reason.DIGEST_MISMATCH, ExitCode.BAD_DATA)


def test_bad_data_fails_with_a_report_and_publishes_no_model(bench: Bench, tmp_path: Path) -> None:
    broken = bench.dataset([*pair_rows(4), {"prompt": "a", "chosen": "b", "rejected": "b"}], "broken")
    summary, code = ended(bench.run_file("dpo", {}, name="bad", inputs={"dataset": broken}), tmp_path)
    assert (summary.reason, code, summary.output) == (Reason.BAD_DATA, ExitCode.BAD_DATA, None)
    assert "broken.jsonl:5: chosen equal to rejected" in summary.message
    assert summary.report is not None
    assert bench.store.manifest(summary.report.digest).media_type is MediaType.REPORT


def test_a_prompt_of_the_held_out_input_is_a_leak(bench: Bench, tmp_path: Path) -> None:
    held_out = bench.dataset([{"prompt": "TRACK MY PLANTS 0"}], "held")
    summary, code = ended(bench.run_file("sft", {}, name="leak", inputs={"heldOut": held_out}), tmp_path)
    assert (summary.reason, code) == (Reason.BAD_DATA, ExitCode.BAD_DATA)
    assert "sft.jsonl:1: prompts of the held-out evaluation set" in summary.message


def test_a_template_without_marks_cannot_train_on_the_assistant_alone(tmp_path: Path) -> None:
    plain = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    model = make_tiny_tokenizer(tmp_path / "plain", template=plain)
    (model / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (model / "model.safetensors").write_bytes(b"")
    bench = make_bench(tmp_path, model=model)
    summary, code = ended(bench.run_file("sft", {"lossOn": "Assistant"}, name="marks"), tmp_path)
    assert code == ExitCode.BAD_DATA
    assert "lossOn: Assistant needs" in summary.message


def test_inputs_left_by_an_earlier_attempt_and_damaged_are_fetched_anew(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {"maxLength": 8}, name="again")
    first, _ = ended(orders, tmp_path)
    (tmp_path / "work" / "inputs" / "dataset" / "sft.jsonl").write_text("{")
    second, _ = ended(orders, tmp_path)
    assert second.message == first.message
    assert "raise maxLength" in first.message


def test_a_stop_during_the_checks_is_a_preemption(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(bench.run_file("sft", {}, name="stop").pretty())
    stop = StopSwitch()
    stop.requested = True  # as after a signal that a library swallowed
    summary, code = attempt(tmp_path / "run.json", tmp_path / "work", settings(tmp_path), stop)
    assert (summary.result, summary.reason, code) == (Result.PREEMPTED, Reason.PREEMPTED, ExitCode.PREEMPTED)


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/w/x"), Reason.BAD_CONFIGURATION, ExitCode.BAD_CONFIG),
        (OSError(errno.EACCES, "Permission denied", "/w/x"), Reason.NOT_PERMITTED, ExitCode.NOT_PERMITTED),
        (OSError(errno.EIO, "Input/output error", "/w/x"), Reason.BAD_CONFIGURATION, ExitCode.BAD_CONFIG),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Reason.OUT_OF_MEMORY, ExitCode.INTERNAL),
        (RuntimeError("PytorchStreamWriter failed"), Reason.BAD_CONFIGURATION, ExitCode.BAD_CONFIG),
        (MemoryError(), Reason.OUT_OF_MEMORY, ExitCode.INTERNAL),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), Reason.OUT_OF_MEMORY, ExitCode.INTERNAL),
    ],
)
def test_errors_of_the_machine_have_their_reason_and_code(error: Exception, reason: Reason, code: int) -> None:
    found = explain(error)
    assert (found.reason, found.exit_code) == (reason, code)


def test_an_unforeseen_error_is_internal_and_its_text_stays_out() -> None:
    try:
        raise KeyError("a secret prompt")
    except KeyError as error:
        found = explain(error)
    assert (found.reason, found.exit_code) == (Reason.INTERNAL_ERROR, ExitCode.INTERNAL)
    assert "secret" not in str(found)
    assert not isinstance(found, OutOfMemory)


def test_settings_come_from_the_environment_or_the_pods_places(tmp_path: Path) -> None:
    nothing = read_settings({})
    assert (nothing.termination_log, nothing.progress) == (Path("/dev/termination-log"), Silence())
    assert (nothing.another_reporter(), nothing.nodes()) == (Silence(), Nodes())
    found = read_settings({"PLUMBLINE_TERMINATION_LOG": "/t", "PLUMBLINE_PROGRESS": "/p"})
    assert found.termination_log == Path("/t")
    assert isinstance(found.progress, FileReporter)
    assert isinstance(found.another_reporter(), FileReporter)


def test_the_libraries_environment_keeps_threads_calm_and_the_hub_off(tmp_path: Path) -> None:
    found = library_environment(3, 0, tmp_path)
    assert (found["OMP_NUM_THREADS"], found["OMP_WAIT_POLICY"], found["HF_HUB_OFFLINE"]) == ("3", "PASSIVE", "1")


def test_a_gpu_is_seen_by_libraries_only_where_one_was_asked_for(tmp_path: Path) -> None:
    without, with_two = library_environment(3, 0, tmp_path), library_environment(3, 2, tmp_path)
    assert without["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in with_two
    assert with_two["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_cache_hit_answers_with_the_recorded_result(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {}, name="hit")
    model = bench.store.publish_bytes({"x.safetensors": b"x"}, MediaType.MODEL)
    open_store(bench.store.uri).record(orders.cache_key, Summary(result=Result.SUCCEEDED, output=model))
    summary, code = ended(orders, tmp_path)
    assert (summary.cached, summary.output, code) == (True, model, ExitCode.OK)
