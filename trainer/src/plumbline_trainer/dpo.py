"""Direct preference optimisation (stage `dpo`; Rafailov et al. 2023) on TRL's DPOTrainer, read top to bottom.

With pi the trained model, ref the model before, and y+ / y- the chosen and the rejected answer to x:

    margin = beta * ((log pi(y+|x) - log ref(y+|x)) - (log pi(y-|x) - log ref(y-|x)))      (their equation 5)
    loss   = -log sigmoid(margin)                                                          (their equation 7)

or another of TRL's losses of `margin`, or a weighted sum of several. Deviations: `ref` is never a second model in
memory. Adapters are switched off to get it; without adapters its log-probabilities are computed before the first step.
The pairs of a step are taken in several passes (`batches`); the term `sft` is a mean over the tokens of a pass.
"""

from collections.abc import Iterable
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from plumbline_api.alignment import DpoOptions
from plumbline_trainer.options import dpo_settings
from plumbline_trainer.progress import ProgressLog
from plumbline_trainer.stopping import StopSwitch
from plumbline_trainer.template import Encoded
from plumbline_trainer.training import (
    Orders,
    SortedSteps,
    Trained,
    encoded_rows,
    lora_config,
    prepare_libraries,
    read_tokenizer,
    train_to_end,
)

__all__ = ["tokens_to_compare", "train_dpo"]


def train_dpo(orders: Orders, options: DpoOptions) -> Trained:
    """Make the model prefer the chosen answers."""
    prepare_libraries(orders.run)
    orders.progress.phase("loading model")
    tokenizer = read_tokenizer(orders.inputs.model)
    pairs = tokens_to_compare(encoded_rows(orders, tokenizer, options.max_length))
    watch = ReferenceWatch(_collator(tokenizer, options.max_length), orders.progress, orders.stop, len(pairs))
    trainer = EncodedTrainer(
        model=str(orders.inputs.model.path),
        args=DPOConfig(**dpo_settings(options, orders.run.seed, orders.checkpoints, len(pairs))),
        data_collator=watch,
        train_dataset=pairs,
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
    )
    watch.reference_is_done()
    return train_to_end(trainer, orders)


def tokens_to_compare(rows: Iterable[Encoded]) -> Dataset:
    """Pairs in TRL's own columns of tokens, the shortest first: the reference then pads next to nothing."""
    columns: dict[str, list[list[int]]] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for row in sorted(rows, key=_width):
        chosen, rejected = row.answers
        columns["prompt_ids"].append(row.prompt.tolist())
        columns["chosen_ids"].append(chosen.tolist())
        columns["rejected_ids"].append(rejected.tolist())
    return Dataset.from_dict(columns)


def _width(row: Encoded) -> int:
    return len(row.prompt) + max(len(answer) for answer in row.answers)


class EncodedTrainer(SortedSteps, DPOTrainer):
    """TRL's trainer for rows that were encoded when they were checked; a test compares them with TRL's encoding."""

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset


class ReferenceWatch:
    """Collates as TRL does; while the trainer is being built, each batch is the reference's, and is reported."""

    def __init__(self, collate: DataCollatorForPreference, progress: ProgressLog, stop: StopSwitch, rows: int) -> None:
        self._collate = collate
        self._progress = progress
        self._stop = stop
        self._rows = rows
        self._done: int | None = 0

    def __call__(self, examples: list[dict[str, Any]]) -> Any:
        """One padded batch."""
        if self._done is not None:
            self._stop.check()
            self._done += len(examples)
            self._progress.phase("computing reference", self._done, self._rows)
        return self._collate(examples)

    def reference_is_done(self) -> None:
        """From here on batches are training's own, which has a better count."""
        self._done = None


def _collator(tokenizer: Any, max_length: int) -> DataCollatorForPreference:
    pad = tokenizer.pad_token_id
    return DataCollatorForPreference(pad_token_id=tokenizer.eos_token_id if pad is None else pad, max_length=max_length)
