"""What both training stages share: quiet deterministic torch, the step watch, resuming, and the model they leave.

`sft` and `dpo` build a TRL trainer and hand it to `train_to_end`. Imports torch, so nothing light imports this.
"""

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import datasets
import torch
import transformers
from peft import LoraConfig
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from plumbline_api.alignment import LoraOptions
from plumbline_api.runfile import RunFile
from plumbline_trainer.batches import StepOrder
from plumbline_trainer.checkpoints import Checkpoint, remove_older, seal
from plumbline_trainer.failures import BadConfiguration, UnstableTraining
from plumbline_trainer.keeping import Keep, keep_nothing
from plumbline_trainer.modelfolder import ModelFolder
from plumbline_trainer.options import lora_settings
from plumbline_trainer.output import write_model
from plumbline_trainer.preparation import Prepared
from plumbline_trainer.progress import ProgressLog
from plumbline_trainer.scoring import score_learned_tokens
from plumbline_trainer.stopping import StopSwitch
from plumbline_trainer.template import Encoded, fit_rows, load_tokenizer
from plumbline_trainer.world import World

__all__ = [
    "Orders",
    "SortedSteps",
    "Trained",
    "encoded_rows",
    "lora_config",
    "prepare_libraries",
    "read_model",
    "read_tokenizer",
    "train_to_end",
]

log = logging.getLogger(__name__)

AVERAGED: Final = 10
"""Steps over which the report's numbers are averaged: one batch alone says little."""


@dataclass(frozen=True)
class Orders:
    """What a stage is given beside its options and its data."""

    run: RunFile
    inputs: Prepared
    work: Path
    progress: ProgressLog
    stop: StopSwitch
    world: World
    """Which of the processes that train together this is."""
    threads: int
    """Of this process."""
    found: tuple[Checkpoint, ...]
    """Complete checkpoints of an earlier attempt, the newest first."""
    keep: Keep = keep_nothing
    """Told of each checkpoint that is sealed, by the process that leads."""

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept between attempts."""
        return self.work / "checkpoints"

    @property
    def output(self) -> Path:
        """Where the finished model is written before it is published."""
        return self.work / "output"


@dataclass(frozen=True)
class Trained:
    """A finished, sealed model folder and the last numbers of its training."""

    folder: Path
    metrics: dict[str, float]


def prepare_libraries(orders: Orders) -> None:
    """One arithmetic for one RunFile: fixed threads, deterministic kernels, fixed seeds; and no chatter.

    Raises:
        BadConfiguration: A GPU was asked for, and this torch sees none.
    """
    if orders.world.gpu:
        _take_gpu(orders.world.local_rank, orders.run.gpus)
    torch.set_num_threads(orders.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010  # a property of the module
    transformers.set_seed(orders.run.seed)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    score_learned_tokens()


def _take_gpu(number: int, wanted: int) -> None:
    seen = torch.cuda.device_count()
    if seen < wanted:
        remedy = "use a trainer image built for CUDA, and see whether the node's driver is as new as that"
        raise BadConfiguration(f"compute.gpu.count is {wanted}, and torch {torch.__version__} sees {seen}; {remedy}")
    torch.cuda.set_device(number)


def read_tokenizer(model: ModelFolder) -> Any:
    """The tokenizer as engines load it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        str(model.path), local_files_only=True, trust_remote_code=False
    )
    tokenizer.chat_template = model.template
    return tokenizer


def read_model(model: ModelFolder) -> Any:
    """The model, in single precision, from safetensors only."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        str(model.path), dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )


def encoded_rows(orders: Orders, tokenizer: Any, max_length: int) -> tuple[Encoded, ...]:
    """The rows in tokens: those of the check, unless this kind of model has a tokenizer of its own making."""
    checked: Any = load_tokenizer(orders.inputs.model)
    if checked.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str():
        return orders.inputs.fit.encoded
    return fit_rows(tokenizer, orders.inputs.data, max_length).encoded


def lora_config(options: LoraOptions | None) -> LoraConfig | None:
    """Peft's configuration of an adapter, where one is trained."""
    return None if options is None else LoraConfig(**lora_settings(options))


def train_to_end(trainer: transformers.Trainer, orders: Orders) -> Trained:
    """Train from the newest complete checkpoint, or from the start, and leave a sealed model.

    Raises:
        Preempted: told to stop; a checkpoint of the last step is kept.
        UnstableTraining: a number left the range of numbers.
    """
    trainer.remove_callback(transformers.PrinterCallback)  # the step watch speaks for the trainer
    trainer.add_callback(StepWatch(orders))
    start = newest_of_all(orders.found)
    if start is not None:
        log.info("resuming at step %d", start.step)
    orders.stop.check()
    with orders.stop.deferred():
        trainer.train(resume_from_checkpoint=str(start.path) if start else None)
        if trainer.state.global_step >= trainer.state.max_steps:
            metrics = average_metrics(trainer.state.log_history)
            _refuse_broken_weights(trainer.model)
            trained = _leave(trainer, orders, metrics) if orders.world.leads else Trained(orders.output, metrics)
    orders.stop.check()
    return trained


def newest_of_all(found: Sequence[Checkpoint]) -> Checkpoint | None:
    """The newest checkpoint that every process has; None where there is none, and all begin anew."""
    if not distributed.is_initialized():
        return found[0] if found else None
    steps: list[set[int]] = [set() for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(steps, {one.step for one in found})
    common = set.intersection(*steps)
    return next((one for one in found if one.step in common), None)


def average_metrics(history: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each number of the trainer's log, averaged over the last steps that have it."""
    rows = [row for row in history if "loss" in row][-AVERAGED:]
    names = sorted({name for row in rows for name in row} - {"step", "epoch"})
    found = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


class SortedSteps:
    """Mixed into a trainer of TRL's: its rows come in the order of `batches`."""

    train_dataset: Any
    args: Any
    add_callback: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        rows_per_pass = self.args.per_device_train_batch_size * self.args.world_size
        order = StepOrder(row_lengths(rows), rows_per_pass * self.args.gradient_accumulation_steps, self.args.seed)
        self.add_callback(EpochWatch(order))
        return order


def row_lengths(rows: Any) -> list[int]:
    """Tokens of each row of a data set in TRL's columns; of both answers, where there are two."""
    if "input_ids" in rows.column_names:
        return [len(tokens) for tokens in rows["input_ids"]]
    parts = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True)
    return [len(prompt) + len(chosen) + len(rejected) for prompt, chosen, rejected in parts]


class EpochWatch(TrainerCallback):
    """Tells the order of rows its epoch: accelerate does not where it both skips batches and divides them."""

    def __init__(self, order: StepOrder) -> None:
        self._order = order

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """An epoch begins, or the rest of one does."""
        self._order.set_epoch(int(state.epoch or 0))


class StepWatch(TrainerCallback):
    """Reports progress, seals checkpoints, stops where asked to, and refuses numbers that are none."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say so, once: before it are the imports and the model, which take their time."""
        if self._orders.world.leads:
            log.info("the first of %d steps begins", state.max_steps - state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Stop between two steps; the last step needs no checkpoint, because the model follows."""
        self._orders.progress.step(state.global_step, state.max_steps)
        self._orders.stop.requested = anyone(flag=self._orders.stop.requested)
        last = state.global_step >= state.max_steps
        if last:
            control.should_save = False
        elif self._orders.stop.requested:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Pass the numbers on; transformers hands them over before and after making text of them."""
        numbers = {name: float(value) for name, value in kwargs["logs"].items() if _is_number(value)}
        for name in ("loss", "grad_norm"):
            if not math.isfinite(numbers.get(name, 0.0)):
                raise _unstable(f"{name} is {numbers[name]} at step {state.global_step}")
        self._orders.progress.step(state.global_step, state.max_steps, numbers)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal what was just saved, then let go of older checkpoints."""
        folder = Path(str(args.output_dir))
        await_others()  # each has a file of its own in it
        if self._orders.world.local_rank == 0:
            made = folder / f"checkpoint-{state.global_step}"
            seal(made, self._orders.run.cache_key, state.global_step)
            if self._orders.world.leads:
                self._orders.keep(made)
            remove_older(folder)
            log.info("checkpoint at step %d of %d", state.global_step, state.max_steps)


def anyone(*, flag: bool) -> bool:
    """Whether the flag is up in any process."""
    if not distributed.is_initialized():
        return flag
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    raised = torch.tensor(int(flag), device=device)
    distributed.all_reduce(raised, distributed.ReduceOp.MAX)
    return bool(raised)


def await_others() -> None:
    """Go on when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def _leave(trainer: transformers.Trainer, orders: Orders, metrics: dict[str, float]) -> Trained:
    scratch = orders.work / "output.new"
    for folder in (scratch, orders.output):
        shutil.rmtree(folder, ignore_errors=True)
    write_model(trainer.model, scratch, orders.inputs.model, orders.run)
    seal(scratch, orders.run.cache_key, trainer.state.global_step, metrics)
    scratch.rename(orders.output)
    return Trained(orders.output, metrics)


def _refuse_broken_weights(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
            raise _unstable(f"the weights {name} hold values that are no numbers")


def _unstable(fact: str) -> UnstableTraining:
    return UnstableTraining(
        f"training became unstable: {fact}; no model is kept",
        advice=("lower learningRate", "raise warmup", "check the data for wrong labels"),
    )


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]  # whatever it is, the question is whether it can be read as a number
    except (TypeError, ValueError):
        return False
    return True
