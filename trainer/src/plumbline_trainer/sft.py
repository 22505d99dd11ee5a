"""Supervised fine-tuning (stage `sft`) on TRL's SFTTrainer, read top to bottom.

Each row was rendered with the model's own chat template; which tokens count is `lossOn`. Full or with adapters.
"""

from collections.abc import Iterable
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from plumbline_api.alignment import LossOn, SftOptions
from plumbline_trainer.options import sft_settings
from plumbline_trainer.rows import Dialogue
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

__all__ = ["tokens_to_learn", "train_sft"]

IGNORED = -100
"""The label of a token that is not learned."""


def train_sft(orders: Orders, options: SftOptions) -> Trained:
    """Teach the model to give these answers."""
    prepare_libraries(orders)
    orders.progress.phase("loading model")
    tokenizer = read_tokenizer(orders.inputs.model)
    marked = options.loss_on is LossOn.ASSISTANT
    encoded = () if marked else encoded_rows(orders, tokenizer, options.max_length)
    trainer = SortedSftTrainer(
        model=read_model(orders.inputs.model),
        args=SFTConfig(
            **sft_settings(options, orders.run.seed, orders.checkpoints, orders.world),
            dataset_kwargs={"skip_prepare_dataset": not marked},
        ),
        train_dataset=_conversations(orders) if marked else tokens_to_learn(encoded, options),
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
    )
    return train_to_end(trainer, orders)


class SortedSftTrainer(SortedSteps, SFTTrainer):
    """TRL's trainer, with the rows of a step sorted by length; its loss is the mean over all tokens of the step."""


def tokens_to_learn(rows: Iterable[Encoded], options: SftOptions) -> Dataset:
    """Rows in tokens, cut to maxLength, with a label for each token; the prompt's count only where all do."""
    prompt_counts = options.loss_on is LossOn.EVERYTHING
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for row in rows:
        prompt, answer = row.prompt.tolist(), row.answers[0].tolist()
        labels = (prompt if prompt_counts else [IGNORED] * len(prompt)) + answer
        columns["input_ids"].append((prompt + answer)[: options.max_length])
        columns["labels"].append(labels[: options.max_length])
    return Dataset.from_dict(columns)


def _conversations(orders: Orders) -> Dataset:
    """Rows as messages: TRL finds the assistant's tokens by the template's generation marks."""
    rows: tuple[Any, ...] = orders.inputs.data.rows
    return Dataset.from_list([{"messages": _messages(rows[index])} for index in orders.inputs.fit.kept])


def _messages(row: Dialogue) -> list[dict[str, str]]:
    turns = [{"role": message.role, "content": message.content} for message in row.prompt]
    return [*turns, {"role": "assistant", "content": row.answer}]
