"""Which option of a RunFile becomes which field of TRL's configuration: one table per trainer, and nothing else passes.

Read by `sft` and `dpo`; a test compares every right-hand name with the fields of the real configuration classes, so
that a rename upstream is a failed test and not a lost option. Pure: no torch, no TRL.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plumbline_api.alignment import DpoLoss, DpoOptions, LoraOptions, LossOn, Precision, SftOptions, TrainingOptions
from plumbline_trainer.batches import passes_per_batch
from plumbline_trainer.failures import BadSpec
from plumbline_trainer.world import ALONE, World

__all__ = [
    "DPO_FIELDS", "ELSEWHERE", "FIXED", "LORA_FIELDS", "SFT_FIELDS", "TOGETHER", "Field", "dpo_settings",
    "lora_settings", "refuse_impossible", "sft_settings",
]  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One line of a table: an option of ours, the field of theirs, and how the value is translated."""

    option: str
    name: str
    translate: Callable[[Any], Any] = lambda value: value


def _numbers(values: tuple[str, ...]) -> list[float]:
    return [float(value) for value in values]


def _warmup(value: str) -> float | int:
    """TRL takes a share below 1, or a whole number of steps."""
    number = float(value)
    return number if number < 1 else int(number)


COMMON: Final = (
    Field("learning_rate", "learning_rate", float),
    Field("epochs", "num_train_epochs", float),
    Field("max_steps", "max_steps"),
    Field("batch_size", "per_device_train_batch_size"),
    Field("gradient_accumulation", "gradient_accumulation_steps"),
    Field("max_length", "max_length"),
    Field("warmup", "warmup_steps", _warmup),
    Field("weight_decay", "weight_decay", float),
    Field("adam_beta2", "adam_beta2", float),
    Field("scheduler", "lr_scheduler_type", lambda scheduler: scheduler.value),
    Field("precision", "bf16", lambda precision: precision is Precision.BF16),
    Field("save_steps", "save_steps"),
)
SFT_FIELDS: Final = (
    *COMMON,
    Field("loss_on", "completion_only_loss", lambda loss_on: loss_on is LossOn.COMPLETION),
    Field("loss_on", "assistant_only_loss", lambda loss_on: loss_on is LossOn.ASSISTANT),
)
DPO_FIELDS: Final = (
    *COMMON,
    Field("beta", "beta", float),
    Field("loss", "loss_type", lambda losses: [loss.value for loss in losses]),
    Field("loss_weights", "loss_weights", _numbers),
    Field("label_smoothing", "label_smoothing", float),
)
LORA_FIELDS: Final = (
    Field("r", "r"),
    Field("alpha", "lora_alpha"),
    Field("dropout", "lora_dropout", float),
    Field("target", "target_modules", lambda names: names[0] if names == ("all-linear",) else list(names)),
)
ELSEWHERE: Final = frozenset({"dataset", "held_out", "lora", "timeout"})
"""Options that are no field of a trainer: inputs, a configuration of its own, and the Job's deadline."""

FIXED: Final[Mapping[str, object]] = {
    "gradient_checkpointing": False,  # saves memory for time; a CPU has the memory
    "dataloader_pin_memory": False,
    "report_to": "none",
    "disable_tqdm": True,
    "logging_steps": 0.001,  # a share: every step of a short run, a thousand lines of a long one
    "logging_nan_inf_filter": False,  # a loss that is no number must be seen
    "save_strategy": "steps",
    "save_total_limit": None,  # `checkpoints` removes old ones, after it has sealed the new one
    "remove_unused_columns": True,
    "trust_remote_code": False,
}

TOGETHER: Final[Mapping[str, object]] = {
    "ddp_find_unused_parameters": False,
    "save_on_each_node": True,  # nodes share no disk
}
"""What is fixed beside that where several processes train together."""


def sft_settings(options: SftOptions, seed: int, output: Path, world: World = ALONE) -> dict[str, Any]:
    """The arguments of SFTConfig."""
    return _settings(SFT_FIELDS, options, seed, output, world)


def dpo_settings(options: DpoOptions, seed: int, output: Path, rows: int, world: World = ALONE) -> dict[str, Any]:
    """The arguments of DPOConfig.

    No second model in memory: an adapter is switched off to get the reference; without one, the reference
    log-probabilities are computed before the first step. They are too where rows are seen again, because it is cheaper.
    """
    seen = (options.max_steps or 0) * options.batch_size * options.gradient_accumulation
    passes = float(options.epochs) if options.epochs is not None else seen / rows
    return _settings(DPO_FIELDS, options, seed, output, world) | {
        "precompute_ref_log_probs": options.lora is None or passes > 1,
        "precompute_ref_batch_size": options.batch_size,
    }


def lora_settings(options: LoraOptions) -> dict[str, Any]:
    """The arguments of peft's LoraConfig."""
    return _translate(LORA_FIELDS, options) | {"bias": "none", "task_type": "CAUSAL_LM"}


def refuse_impossible(options: TrainingOptions) -> None:
    """Refuse what the schema allows and the libraries refuse, before anything heavy starts."""
    if options.lora is not None and "lm_head" in options.lora.target:
        raise BadSpec("lora.target: lm_head cannot be adapted; name other modules, or all-linear")
    if options.lora is not None and "all-linear" in options.lora.target and len(options.lora.target) > 1:
        raise BadSpec("lora.target: all-linear stands alone; leave the other names out")
    if isinstance(options, DpoOptions) and DpoLoss.EXO_PAIR in options.loss and float(options.label_smoothing) == 0:
        raise BadSpec("labelSmoothing: loss exo_pair needs a value above 0; its authors use 0.001")


def _settings(
    table: tuple[Field, ...], options: TrainingOptions, seed: int, output: Path, world: World
) -> dict[str, Any]:
    passes = passes_per_batch(options.batch_size, world.size)
    divided = {
        "per_device_train_batch_size": options.batch_size // passes,
        "gradient_accumulation_steps": options.gradient_accumulation * passes // world.size,
    }
    backend = {"ddp_backend": "nccl" if world.gpu else "gloo"}
    together = {**TOGETHER, **backend} if world.size > 1 else {}
    device = {"use_cpu": not world.gpu}
    surroundings = {"seed": seed, "data_seed": seed, "output_dir": str(output)}
    return {**FIXED, **device, **together, **_translate(table, options), **divided, **surroundings}


def _translate(table: tuple[Field, ...], options: TrainingOptions | LoraOptions) -> dict[str, Any]:
    """Options that are left out stay at the default of the library."""
    given = {field.name: (field, getattr(options, field.option)) for field in table}
    return {name: field.translate(value) for name, (field, value) in given.items() if value is not None}
