"""What a model folder must hold before a stage may train on it; looked at without torch.

`stage` calls this after the checkout. Only safetensors are accepted: formats built on pickle run code when loaded.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline_trainer.failures import BadData

__all__ = ["ModelFolder", "check_model"]

PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
TRAVELS_UNCHANGED = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model", "chat_template.jinja", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE",
)  # fmt: skip
"""Files that training does not touch: a trained model gets copies."""


@dataclass(frozen=True)
class ModelFolder:
    """A checked model folder."""

    path: Path
    template: str
    vocabulary: int | None = None
    """Tokens the model knows, where its configuration says so."""
    positions: int | None = None
    """Longest row it was made for, where its configuration says so."""

    @property
    def weight_bytes(self) -> int:
        """Size of the weights."""
        return sum(file.stat().st_size for file in self.path.glob("*.safetensors"))

    @property
    def unchanged(self) -> tuple[Path, ...]:
        """The files that a trained model takes over as they are."""
        return tuple(self.path / name for name in TRAVELS_UNCHANGED if (self.path / name).is_file())


def check_model(path: Path) -> ModelFolder:
    """Look a model folder over; raises BadData naming what is missing and what to do about it."""
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise BadData(
                "model: the folder holds an adapter alone; set output.merge: true in the run that made it, "
                "or give the merged model"
            )
        raise BadData("model: no config.json; give a folder written by save_pretrained")
    config = _json(path / "config.json")
    if "auto_map" in config:
        raise BadData("model: config.json names code of its own (auto_map), which is never run; use a built-in kind")
    if "quantization_config" in config:
        raise BadData("model: quantised weights cannot be trained; give the model in full precision")
    if "model_type" not in config:
        raise BadData("model: config.json has no model_type; give a folder written by save_pretrained")
    _check_weights(path)
    if not (path / "tokenizer.json").is_file() or not (path / "tokenizer_config.json").is_file():
        raise BadData(
            "model: no tokenizer (tokenizer.json and tokenizer_config.json); "
            "save it beside the weights with tokenizer.save_pretrained"
        )
    return ModelFolder(path, _template(path), _size(config, "vocab_size"), _size(config, "max_position_embeddings"))


def _size(config: dict[str, Any], name: str) -> int | None:
    found = config.get(name)
    return found if isinstance(found, int) else None


def _check_weights(path: Path) -> None:
    if (path / "model.safetensors.index.json").is_file():
        index = _json(path / "model.safetensors.index.json").get("weight_map")
        names = {str(name) for name in index.values()} if isinstance(index, dict) else set()
        missing = sorted(name for name in names if not (path / name).is_file())
        if missing or not names:
            lost = missing[0] if missing else "weight_map"
            raise BadData(f"model: model.safetensors.index.json names {lost}, which is not there; copy all shards")
    elif not (path / "model.safetensors").is_file():
        pickled = sorted(file.name for file in path.iterdir() if file.suffix in PICKLED)
        found = f"only {pickled[0]}, which can run code when it is loaded" if pickled else "no weights"
        raise BadData(f"model: {found}; save it as model.safetensors (save_pretrained does)")


def _template(path: Path) -> str:
    file = path / "chat_template.jinja"
    template = file.read_text(encoding="utf-8") if file.is_file() else None
    if template is None:
        template = _json(path / "tokenizer_config.json").get("chat_template")
    if not isinstance(template, str) or not template.strip():
        raise BadData(
            "model: the tokenizer has no chat template; write one to chat_template.jinja beside the tokenizer "
            "(docs/training.md shows one)"
        )
    return template


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadData(f"model: {file.name} is not valid JSON; save the model again") from error
    if not isinstance(found, dict):
        raise BadData(f"model: {file.name} is not a JSON object; save the model again")
    return found
