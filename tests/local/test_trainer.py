"""Training for real, on a tiny model in this process: what comes out, and that it comes out the same again."""

import dataclasses
import json
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from plumbline_api.artifact import MediaType
from plumbline_api.progress import Progress
from plumbline_api.report import Report, Summary
from plumbline_api.runfile import RunFile
from plumbline_store import FileReporter, Silence
from plumbline_trainer.failures import BadConfiguration, Preempted, UnstableTraining, explain
from plumbline_trainer.options import DPO_FIELDS, FIXED, LORA_FIELDS, SFT_FIELDS, dpo_settings, sft_settings
from plumbline_trainer.preparation import prepare
from plumbline_trainer.progress import ProgressLog
from plumbline_trainer.rows import Dialogue, Pair
from plumbline_trainer.stage import Stage, clear_work, run_stage
from plumbline_trainer.stopping import StopSwitch
from tests.support.tiny_stage import Bench, make_bench

pytestmark = [pytest.mark.local, pytest.mark.filterwarnings("ignore")]  # the libraries warn about each other


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


class AtStep(ProgressLog):
    """Does something when a step is done: where a test wants to be in the middle of training."""

    def __init__(self, step: int, action: Callable[[], object]) -> None:
        super().__init__(Silence(), now)
        self._at = step
        self._action = action

    def step(self, step: int, max_steps: int, numbers: Mapping[str, float] | None = None) -> None:
        if step == self._at and numbers is None:
            self._action()


def now() -> datetime:
    return datetime.now(UTC)


def train(orders: RunFile, work: Path, progress: ProgressLog | None = None, stop: StopSwitch | None = None) -> Summary:
    return run_stage(Stage(orders, work, progress or ProgressLog(Silence(), now), stop or StopSwitch(), now))


def output(summary: Summary) -> str:
    assert summary.output is not None
    return summary.output.digest


def report_of(bench: Bench, summary: Summary) -> Report:
    assert summary.report is not None
    return Report.read(bench.store.read_file(summary.report.digest, "report.json"))


def scores(path: Path, adapter: Path | None = None) -> Any:
    """The logits of one fixed text."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base: Any = AutoModelForCausalLM.from_pretrained(str(path))
    model = PeftModel.from_pretrained(base, str(adapter)) if adapter else base
    tokens = AutoTokenizer.from_pretrained(str(path))("track my parcel 1", return_tensors="pt")
    with torch.no_grad():
        return model.eval()(input_ids=tokens["input_ids"]).logits


def test_every_name_in_the_tables_is_a_field_of_the_real_configuration() -> None:
    from peft import LoraConfig
    from trl import DPOConfig, SFTConfig

    for table, config in ((SFT_FIELDS, SFTConfig), (DPO_FIELDS, DPOConfig), (LORA_FIELDS, LoraConfig)):
        real = {field.name for field in dataclasses.fields(config)}
        assert {line.name for line in table} <= real
        if config is not LoraConfig:
            assert {"gradient_accumulation_steps", "per_device_train_batch_size"} <= real
            assert set(FIXED) | {"seed", "data_seed", "output_dir"} <= real


def test_what_we_override_in_the_real_trainers_is_there() -> None:
    from transformers import Trainer
    from trl import DPOTrainer

    assert callable(getattr(Trainer, "_get_train_sampler", None))
    assert callable(getattr(DPOTrainer, "_prepare_dataset", None))


def test_scoring_only_learned_tokens_gives_the_same_numbers(bench: Bench) -> None:
    import torch
    import trl.trainer.utils as trl_utils
    from transformers import AutoModelForCausalLM

    from plumbline_trainer.scoring import SWITCH, score_learned_tokens

    assert hasattr(trl_utils, SWITCH)
    model: Any = AutoModelForCausalLM.from_pretrained(str(bench.folder / "model"))
    trl_utils.add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    tokens = torch.arange(3, 43).reshape(2, 20)
    labels = tokens.masked_fill(torch.arange(20) < 15, -100)
    theirs = getattr(trl_utils, SWITCH)

    def score() -> Any:
        return model(input_ids=tokens, labels=labels, fused_lm_head=True)

    try:
        setattr(trl_utils, SWITCH, lambda device: False)
        everywhere = score()
        score_learned_tokens()
        learned = score()
    finally:
        setattr(trl_utils, SWITCH, theirs)
    torch.testing.assert_close(learned.log_probs, everywhere.log_probs)
    torch.testing.assert_close(learned.loss, everywhere.loss)


def test_the_real_configurations_take_what_the_tables_give(bench: Bench, tmp_path: Path) -> None:
    from trl import DPOConfig, SFTConfig

    sft = bench.run_file("sft", {"warmup": "0.1", "precision": "Bf16"}, name="config").work.sft
    dpo = bench.run_file("dpo", {"loss": ["sigmoid", "sft"], "lossWeights": ["1", "0.5"]}, name="config").work.dpo
    assert sft is not None
    assert dpo is not None
    assert SFTConfig(**sft_settings(sft, 1, tmp_path)).bf16
    assert DPOConfig(**dpo_settings(dpo, 1, tmp_path, rows=8)).loss_weights == [1.0, 0.5]


def columns(dataset: Any, *names: str) -> list[tuple[list[int], ...]]:
    """The rows of a data set, in an order of their own."""
    return sorted(zip(*(dataset[name][:] for name in names), strict=True))


def test_rows_are_encoded_exactly_as_trl_encodes_them(bench: Bench, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    from plumbline_trainer.dpo import tokens_to_compare
    from plumbline_trainer.sft import tokens_to_learn

    path = str(bench.folder / "model")
    quiet: dict[str, Any] = {"use_cpu": True, "bf16": False, "max_length": 40, "output_dir": str(tmp_path)}

    sft = bench.run_file("sft", {"maxLength": 40}, name="encoded").work.sft
    assert sft is not None
    prepared = prepare(
        bench.run_file("sft", {"maxLength": 40}, name="encoded"), tmp_path / "s", ProgressLog(Silence(), now)
    )
    turns: list[Any] = [
        {"prompt": [{"role": turn.role, "content": turn.content} for turn in row.prompt],
         "completion": [{"role": "assistant", "content": row.answer}]}
        for row in prepared.data.rows if isinstance(row, Dialogue)
    ]  # fmt: skip
    theirs: Any = SFTTrainer(model=path, args=SFTConfig(**quiet), train_dataset=Dataset.from_list(turns)).train_dataset
    names: tuple[str, ...] = ("input_ids", "labels")
    assert columns(tokens_to_learn(prepared.fit.encoded, sft), *names) == columns(theirs, *names)
    assert prepared.counts["cut"] > 0

    prepared = prepare(bench.run_file("dpo", {}, name="encoded"), tmp_path / "d", ProgressLog(Silence(), now))
    turns = [
        {"prompt": [{"role": turn.role, "content": turn.content} for turn in row.prompt],
         "chosen": [{"role": "assistant", "content": row.chosen}],
         "rejected": [{"role": "assistant", "content": row.rejected}]}
        for row in prepared.data.rows if isinstance(row, Pair)
    ]  # fmt: skip
    settings = DPOConfig(**quiet, precompute_ref_log_probs=True)
    theirs = DPOTrainer(model=path, args=settings, train_dataset=Dataset.from_list(turns)).train_dataset
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    assert columns(tokens_to_compare(prepared.fit.encoded), *names) == columns(theirs, *names)


def test_sft_leaves_a_model_that_stands_alone_and_knows_where_it_comes_from(bench: Bench, tmp_path: Path) -> None:
    log = tmp_path / "progress"
    summary = train(bench.run_file("sft", {}, name="sft"), tmp_path / "work", ProgressLog(FileReporter(log), now))
    model = bench.store.checkout(output(summary), tmp_path / "model")
    assert sorted(path.name for path in model.iterdir()) == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    manifest = bench.store.manifest(output(summary))
    assert {parent.role: parent.digest for parent in manifest.parents} == {
        "model": bench.model,
        "dataset": bench.data["sft"],
    }
    assert not (scores(model) == scores(bench.folder / "model")).all()
    report = report_of(bench, summary)
    assert (report.counts["rowsIn"], report.counts["rowsKept"]) == (32, 32)
    assert {"loss", "grad_norm", "learning_rate"} <= set(report.metrics)
    assert {"torch", "trl"} <= set(report.versions)
    lines = [Progress.read(line) for line in log.read_text().splitlines()]
    phases = [metric.value for line in lines for metric in line.metrics if metric.name == "phase"]
    assert list(dict.fromkeys(phases)) == [
        "fetching inputs", "checking data", "starting torch", "loading model", "training", "publishing",
    ]  # fmt: skip
    assert lines[-1].progress_percentage == 100


@pytest.mark.parametrize("loss_on", ["Assistant", "Everything"])
def test_sft_can_learn_from_other_tokens_than_the_last_answer(bench: Bench, tmp_path: Path, loss_on: str) -> None:
    options = {"lossOn": loss_on, "maxSteps": 2, "precision": "Bf16"}
    whole = train(bench.run_file("sft", options, name=loss_on), tmp_path / "work")
    assert report_of(bench, whole).metrics["loss"] > 0


def test_an_adapter_names_its_base_by_digest_and_nothing_of_this_machine(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {"lora": {"r": 4}}, name="adapter", merge=False)
    summary = train(orders, tmp_path / "work")
    assert summary.output is not None
    assert summary.output.media_type is MediaType.ADAPTER
    folder = bench.store.checkout(output(summary), tmp_path / "adapter")
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == bench.model
    assert config["target_modules"] == sorted(config["target_modules"])


def test_a_merged_adapter_scores_as_it_did_beside_its_base(bench: Bench, tmp_path: Path) -> None:
    import torch

    options = {"lora": {"r": 4, "alpha": 8}, "learningRate": "1e-2", "loss": ["sigmoid", "sft"]}
    apart = train(bench.run_file("dpo", options, name="apart", merge=False), tmp_path / "apart")
    merged = train(bench.run_file("dpo", options, name="merged"), tmp_path / "merged")
    adapter = bench.store.checkout(output(apart), tmp_path / "adapter")
    model = bench.store.checkout(output(merged), tmp_path / "model")
    torch.testing.assert_close(scores(model), scores(bench.folder / "model", adapter), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(scores(model), scores(bench.folder / "model"), atol=1e-3)


def test_full_dpo_widens_the_margin_and_the_same_orders_give_the_same_bytes(bench: Bench, tmp_path: Path) -> None:
    options = {"maxSteps": 12, "learningRate": "3e-3"}
    first = train(bench.run_file("dpo", options, name="first"), tmp_path / "first")
    again = train(bench.run_file("dpo", options, name="again"), tmp_path / "again")
    assert output(first) == output(again)
    assert report_of(bench, first).metrics["rewards/margins"] > 0
    other = bench.run_file("dpo", options, name="other").model_copy(update={"seed": 8})
    assert output(train(other, tmp_path / "other")) != output(first)


@pytest.mark.parametrize(
    ("block", "options", "stop_at"),
    [
        ("sft", {"maxSteps": None, "epochs": "2", "batchSize": 4, "gradientAccumulation": 2}, 5),
        ("sft", {"lora": {"r": 4, "dropout": "0.2"}, "maxSteps": 7}, 3),
        ("dpo", {"maxSteps": 6}, 5),
        ("dpo", {"lora": {"r": 4}, "maxSteps": 6, "loss": ["sigmoid", "sft"]}, 4),
    ],
)
def test_a_stage_that_is_stopped_and_resumed_ends_with_the_same_bytes(
    bench: Bench, tmp_path: Path, block: str, options: dict[str, object], stop_at: int
) -> None:
    name = f"{block}-{stop_at}"
    undisturbed = train(bench.run_file(block, options, name=f"{name}-a"), tmp_path / "a")
    orders = bench.run_file(block, options, name=f"{name}-b")
    stop = StopSwitch()

    def ask_to_stop() -> None:
        stop.requested = True

    with pytest.raises(Preempted):
        train(orders, tmp_path / "b", AtStep(stop_at, ask_to_stop), stop)
    assert (tmp_path / "b" / "checkpoints" / f"checkpoint-{stop_at}").is_dir()
    seen: list[int] = []
    resumed = train(orders, tmp_path / "b", AtStep(stop_at, lambda: seen.append(stop_at)))
    assert seen == []
    assert output(resumed) == output(undisturbed)


def test_a_stop_in_the_last_step_is_resumed_without_training(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {"maxSteps": 3}, name="last")
    stop = StopSwitch()

    def ask_to_stop() -> None:
        stop.requested = True

    with pytest.raises(Preempted):
        train(orders, tmp_path, AtStep(3, ask_to_stop), stop)
    seen: list[int] = []
    summary = train(orders, tmp_path, AtStep(3, lambda: seen.append(3)))
    assert (seen, summary.cached) == ([], False)
    assert report_of(bench, summary).metrics["loss"] > 0
    clear_work(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert train(orders, tmp_path).cached


def test_a_loss_that_is_no_number_is_a_failure_and_no_model(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {"learningRate": "999999999", "maxSteps": 20}, name="wild")
    with pytest.raises(UnstableTraining) as caught:
        train(orders, tmp_path)
    assert "lower learningRate" in caught.value.advice
    assert caught.value.report is not None
    assert bench.store.recall(orders.cache_key) is None
    assert not (tmp_path / "output").exists()


def test_a_gpu_that_torch_does_not_see_is_told_before_anything_is_trained(bench: Bench, tmp_path: Path) -> None:
    orders = bench.run_file("sft", {}, name="gpu").model_copy(update={"gpus": 1})
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BadConfiguration, match=r"is 1, and torch .* sees 0; use a trainer image"):
        train(orders, tmp_path)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[Callable[[], None]]:
    """Gives the call that makes this process unable to write larger files: a full disk, as far as it can tell."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_while_training_is_told_and_the_next_attempt_succeeds(
    bench: Bench, tmp_path: Path
) -> None:
    orders = bench.run_file("sft", {"maxSteps": 4}, name="full")
    undisturbed = train(bench.run_file("sft", {"maxSteps": 4}, name="roomy"), tmp_path / "roomy")
    with files_no_larger_than(50_000) as fill, pytest.raises(Exception) as caught:  # noqa: PT011  # of any library
        train(orders, tmp_path / "full", AtStep(2, fill))
    found = explain(caught.value)
    assert isinstance(found, BadConfiguration)
    assert "no space left" in str(found)
    assert output(train(orders, tmp_path / "full")) == output(undisturbed)
