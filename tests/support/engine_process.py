"""The real `plumbline-engine` as a child process, serving a tiny model out of a real store."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from plumbline_api.artifact import MediaType
from plumbline_store import open_store
from tests.support.tiny_model import make_tiny_model

__all__ = ["EngineProcess", "Stored", "engine_command", "make_talkative_model", "running", "store_model"]


@dataclass(frozen=True)
class Stored:
    """A model in a store."""

    store: str
    digest: str
    folder: Path


def make_talkative_model(folder: Path, seed: int = 0) -> Path:
    """A tiny model whose answers wander: its layers, not the last token alone, decide what follows."""
    from safetensors.torch import load_file, save_file

    make_tiny_model(folder, seed=seed)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        weight *= 0.05 if "embed" in name else 12.0 if name.endswith(("_proj.weight",)) else 1.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def store_model(folder: Path, root: Path) -> Stored:
    """Put a model folder into a new store."""
    uri = f"file://{root}"
    reference = open_store(uri).import_path(folder, MediaType.MODEL)
    return Stored(uri, reference.digest, folder)


def engine_command(model: Stored, work: Path, *options: str) -> list[str]:
    """The command line, on a free port."""
    program = str(Path(sys.executable).parent / "plumbline-engine")
    return [
        program, "--model", model.store, "--digest", model.digest, "--work", str(work), "--port", "0", *options,
    ]  # fmt: skip


@dataclass
class EngineProcess:
    """A started engine."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    url: str = ""

    def health(self) -> int:
        """The status of GET /health."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def load(self) -> tuple[int, int]:
        """Answers running and waiting, as GET /health has them."""
        with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310
            body = json.load(answer)
        return int(body["running"]), int(body["waiting"])

    def wait_until_ready(self, seconds: float = 300) -> None:
        """Wait for health 200."""
        deadline = time.monotonic() + seconds
        while self.health() != 200:
            assert self.process.poll() is None, "".join(self.log)
            assert time.monotonic() < deadline, "".join(self.log)
            time.sleep(0.05)


@contextmanager
def running(model: Stored, work: Path, *options: str) -> Iterator[EngineProcess]:
    """Start the engine and give it as soon as it listens; end it afterwards."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        engine_command(model, work, *options), stderr=subprocess.PIPE, text=True, env=environment
    )
    engine = EngineProcess(process)
    assert process.stderr is not None
    for line in process.stderr:
        engine.log.append(line)
        if found := re.search(r"listening on (http://[^/]+)/v1", line):
            engine.url = found[1]
            break
    drain = threading.Thread(target=engine.log.extend, args=[process.stderr])
    drain.start()
    try:
        yield engine
    finally:
        process.terminate()
        process.wait(60)
        drain.join()
        process.stderr.close()
