"""What a training stage leaves: weights, configuration, tokenizer and template; nothing with times or random order.

Called by `training` at the end. The same weights always give the same bytes, so the same work gives the same digest.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel

from plumbline_api.runfile import RunFile
from plumbline_trainer.modelfolder import ModelFolder

__all__ = ["write_model"]


def write_model(model: Any, folder: Path, base: ModelFolder, run: RunFile) -> None:
    """Write a trained model: an adapter alone, the base with its adapter merged in, or all weights."""
    if isinstance(model, PeftModel) and not run.merge:
        _write_adapter(model, folder, run.inputs["model"].digest)
        return
    whole = model.merge_and_unload() if isinstance(model, PeftModel) else model
    whole.save_pretrained(str(folder))
    for file in base.unchanged:
        shutil.copyfile(file, folder / file.name)


def _write_adapter(model: PeftModel, folder: Path, base_digest: str) -> None:
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    # The base is named by what it is, not by where it lay; and sets come in no particular order.
    settings["base_model_name_or_path"] = base_digest
    settings = {name: sorted(value) if isinstance(value, list) else value for name, value in settings.items()}
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
