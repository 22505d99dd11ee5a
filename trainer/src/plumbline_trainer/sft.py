"""Supervised fine-tuning (stage `sft`) on TRL's SFTTrainer, read top to bottom.

Each row is rendered with the model's own chat template; which tokens count is `lossOn`. Full or with adapters.
"""

from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from plumbline_api.alignment import LossOn, SftOptions
from plumbline_trainer.options import sft_settings
from plumbline_trainer.rows import Dialogue, Message
from plumbline_trainer.training import (
    Orders,
    Trained,
    as_messages,
    lora_config,
    prepare_libraries,
    read_tokenizer,
    train_to_end,
)

__all__ = ["train_sft"]


def train_sft(orders: Orders, options: SftOptions, rows: tuple[Dialogue, ...]) -> Trained:
    """Teach the model to give these answers."""
    prepare_libraries(orders.run)
    orders.progress.phase("loading model")
    trainer = SFTTrainer(
        model=str(orders.model.path),
        args=SFTConfig(**sft_settings(options, orders.run.seed, orders.checkpoints)),
        train_dataset=Dataset.from_list([_columns(row, options.loss_on) for row in rows]),
        processing_class=read_tokenizer(orders.model),
        peft_config=lora_config(options.lora),
    )
    return train_to_end(trainer, orders)


def _columns(row: Dialogue, loss_on: LossOn) -> dict[str, Any]:
    """TRL masks the prompt when it is a column of its own; otherwise the template's marks or nothing decide."""
    prompt, answer = as_messages(row.prompt), as_messages([Message("assistant", row.answer)])
    if loss_on is LossOn.COMPLETION:
        return {"prompt": prompt, "completion": answer}
    return {"messages": prompt + answer}
