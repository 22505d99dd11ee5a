"""Make the example's data and its untrained model, once.

    python examples/task-assistant/prepare.py

Writes, beside this file unless --out names another folder:

    data/base.jsonl   dialogues: the base model is trained on these, from nothing
    data/pairs.jsonl  preference pairs: the base model is aligned with these
    data/held-out.jsonl  every prompt of the suite: training refuses data that contains one of them
    init/             a Llama of about one million parameters with random weights, and its tokenizer

Running it again does nothing, unless this example, the domain's tables or the parameters have changed.
The same parameters give the same bytes.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "script" / "training.yaml"
SUITE = HERE / "3-suite.yaml"
OUTPUTS = ("data/base.jsonl", "data/pairs.jsonl", "data/held-out.jsonl", "init")

_CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{% generation %}{{- message['content'] + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}"
    "{%- else %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The model's shape: about one million parameters."""

    vocabulary: int = 1500
    hidden: int = 128
    mlp: int = 320
    layers: int = 4
    heads: int = 4
    context: int = 512
    spread: float = 0.08
    """Standard deviation of the initial weights: four times the usual, right for a width this small."""


def main() -> int:
    """Prepare what is missing or stale."""
    args = _arguments()
    shape = Shape()
    stamp = args.out / ".prepared.json"
    key = _key(args.seed, shape)
    if _is_current(stamp, key, args.out):
        _say(f"{_shown(args.out)}: data and untrained model are up to date")
        return os.EX_OK
    started = time.monotonic()
    stamp.unlink(missing_ok=True)
    _write_data(args.out / "data", args.seed)
    _write_init(args.out / "init", args.out / "data", shape, args.seed)
    digests = {str(file.relative_to(args.out)): _digest(file) for file in _files(args.out)}
    stamp.write_text(json.dumps({"key": key, "files": digests}, indent=1) + "\n")
    _say(f"prepared in {time.monotonic() - started:.1f} s")
    return os.EX_OK


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the example's data and its untrained model.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into")
    parser.add_argument("--seed", type=int, default=1, help="picks the data and the initial weights")
    return parser.parse_args()


# ---- what is there already


def _key(seed: int, shape: Shape) -> str:
    """Names everything that the outputs follow from."""
    spec = find_spec("plumbline_evaluator")
    if spec is None or spec.origin is None:
        sys.exit("plumbline_evaluator is not installed; run `make setup` first")
    package = Path(spec.origin).parent
    sources = [
        HERE / "prepare.py",
        HERE / "dialogues.py",
        SCRIPT,
        SUITE,
        *sorted((package / "attacks").glob("*.py")),
        package / "corpora" / "task_assistant.py",
        package / "corpora" / "task_assistant.yaml",
    ]
    hasher = hashlib.sha256(json.dumps([seed, asdict(shape)]).encode())
    for source in sources:
        hasher.update(source.name.encode() + b"\0" + source.read_bytes())
    return hasher.hexdigest()


def _is_current(stamp: Path, key: str, out: Path) -> bool:
    try:
        record = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return False
    if not isinstance(record, dict) or record.get("key") != key:
        return False
    files: dict[str, str] = record["files"]
    return bool(files) and all(
        (out / name).is_file() and _digest(out / name) == digest for name, digest in files.items()
    )


def _files(out: Path) -> list[Path]:
    found: list[Path] = []
    for name in OUTPUTS:
        path = out / name
        found += [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- data


def _write_data(folder: Path, seed: int) -> None:
    from dialogues import Sizes, base_rows, load_script, pair_rows

    from plumbline_evaluator.corpora.task_assistant import load_domain

    domain, script, sizes = load_domain(), load_script(SCRIPT), Sizes()
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "base": base_rows(domain, script, sizes, seed),
        "pairs": pair_rows(domain, script, sizes, seed),
        "held-out": _held_out_rows(),
    }
    for name, rows in made.items():
        path = folder / f"{name}.jsonl"
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        partial.replace(path)
        _say(f"{_shown(path)}: {len(rows):,} rows, {path.stat().st_size / 1e6:.1f} MB")


def _held_out_rows() -> list[dict[str, Any]]:
    """The prompts of the suite beside this file."""
    import yaml

    from plumbline_api.redteam import RedTeamSuite
    from plumbline_evaluator.suite import list_cases

    suite = RedTeamSuite.parse(yaml.safe_load(SUITE.read_text(encoding="utf-8")))
    return [{"prompt": [{"role": "user", "content": turn} for turn in case.turns]} for case in list_cases(suite.spec)]


# ---- model


def _write_init(folder: Path, data: Path, shape: Shape, seed: int) -> None:
    """Tokenizer trained on the base corpus, weights drawn by the seed; published by one rename."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".init-") as scratch:
        tokenizer = _tokenizer(_texts(data / "base.jsonl"), shape)
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=shape.hidden,
                intermediate_size=shape.mlp,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.heads,
                max_position_embeddings=shape.context,
                initializer_range=shape.spread,
                tie_word_embeddings=True,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        tokenizer.save_pretrained(scratch)
        model.save_pretrained(scratch)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scratch, folder)
    count = sum(parameter.numel() for parameter in model.parameters())
    _say(f"{_shown(folder)}: {count:,} parameters, {len(tokenizer):,} tokens")


def _tokenizer(texts: list[str], shape: Shape) -> Any:
    """Byte-level BPE with a chat template that marks what the assistant says."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",  # noqa: S106 - a token of text
        pad_token="<|endoftext|>",  # noqa: S106 - a token of text
        model_max_length=shape.context,
        padding_side="left",
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def _texts(base: Path) -> list[str]:
    """What the tokenizer learns from: the base corpus and the refusals, which it does not contain."""
    from dialogues import load_script

    rows = [json.loads(line) for line in base.read_text(encoding="utf-8").splitlines()]
    texts = [message["content"] for row in rows for part in ("prompt", "completion") for message in row[part]]
    return texts + list(load_script(SCRIPT).replies["refused"].values()) * 100


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
