"""Direct preference optimisation (stage `dpo`; Rafailov et al. 2023) on TRL's DPOTrainer, read top to bottom.

With pi the trained model, ref the model before, and y+ / y- the chosen and the rejected answer to x:

    margin = beta * ((log pi(y+|x) - log ref(y+|x)) - (log pi(y-|x) - log ref(y-|x)))      (their equation 5)
    loss   = -log sigmoid(margin)                                                          (their equation 7)

or another of TRL's losses of `margin`, or a weighted sum of several. Deviations: `ref` is never a second model in
memory. Adapters are switched off to get it; without adapters its log-probabilities are computed before the first step.
The pairs of a step are taken in several passes (`batches`); the term `sft` is a mean over the tokens of a pass. The
prompt of a pair is computed once for both answers (`prefixes`).
"""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from trl import DPOConfig, DPOTrainer

from plumbline_api.alignment import DpoOptions
from plumbline_trainer.options import dpo_settings
from plumbline_trainer.prefixes import share_prefixes
from plumbline_trainer.template import Encoded
from plumbline_trainer.training import (
    Orders,
    SortedSteps,
    Trained,
    encoded_rows,
    lora_config,
    prepare_libraries,
    read_model,
    read_tokenizer,
    train_to_end,
)

__all__ = ["tokens_to_compare", "train_dpo"]

log = logging.getLogger(__name__)


def train_dpo(orders: Orders, options: DpoOptions) -> Trained:
    """Make the model prefer the chosen answers."""
    prepare_libraries(orders)
    orders.progress.phase("loading model")
    tokenizer = read_tokenizer(orders.inputs.model)
    pairs = tokens_to_compare(encoded_rows(orders, tokenizer, options.max_length))
    model = read_model(orders.inputs.model)
    if not share_prefixes(model):
        log.info("%s: the prompt of a pair is computed for each of its answers", model.config.model_type)
    trainer = EncodedTrainer(
        orders,
        model=model,
        args=DPOConfig(**dpo_settings(options, orders.run.seed, orders.checkpoints, len(pairs), orders.world)),
        train_dataset=pairs,
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
    )
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
    return len(row.prompt) + sum(len(answer) for answer in row.answers)


class EncodedTrainer(SortedSteps, DPOTrainer):
    """TRL's trainer for rows that were encoded when they were checked; a test compares them with TRL's encoding."""

    def __init__(self, orders: Orders, **given: Any) -> None:
        self._orders = orders
        super().__init__(**given)

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, _name: str, batch_size: int) -> Dataset:
        """The reference's log-probabilities as two more columns, computed by all processes.

        TRL's own passes them on in a file, which processes on other nodes would not find.
        """
        loader = DataLoader(dataset, batch_size=batch_size, collate_fn=self.data_collator)
        found = []
        for batch in self.accelerator.prepare(loader):
            self._orders.stop.check()
            both = torch.stack(self.compute_ref_log_probs(self.model, batch), dim=1)  # type: ignore[no-untyped-call]
            found.append(self.accelerator.gather_for_metrics(both))
            done = min(len(dataset), len(found) * batch_size * self._orders.world.size)
            self._orders.progress.phase("computing reference", done, len(dataset))
        chosen, rejected = torch.cat(found).unbind(dim=1)
        return dataset.add_column("ref_chosen_logps", chosen.tolist()).add_column(
            "ref_rejected_logps", rejected.tolist()
        )
