"""The command line of `plumbline-engine`, read once into one frozen object; refuses what must not be, early.

Used by `main`. Nothing here imports torch.
"""

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings", "SettingsError", "read_settings"]


class SettingsError(Exception):
    """The command line asks for what must not or cannot be (exit code 78)."""


@dataclass(frozen=True)
class Settings:
    """What to serve, where, and within which bounds."""

    store: str
    digest: str
    work: Path
    host: str
    port: int
    name: str
    threads: int
    max_tokens: int
    max_batch: int
    max_queue: int


def read_settings(arguments: Sequence[str]) -> Settings:
    """Parse the command line.

    Raises:
        SettingsError: naming the option, what is wrong and what to give.
    """
    given = _parser().parse_args(arguments)
    store, digest = given.model, given.digest
    if digest is None and "@" in store:
        store, _, digest = store.rpartition("@")
    if digest is None or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise SettingsError("--digest: give the model's digest, sha256: and 64 hexadecimal digits")
    if not 0 <= given.port <= 65535:
        raise SettingsError(f"--port: {given.port} is not between 0 and 65535")
    for option in ("threads", "max_tokens", "max_batch", "max_queue"):
        if getattr(given, option) < 1:
            raise SettingsError(f"--{option.replace('_', '-')}: must be at least 1")
    return Settings(
        store=store,
        digest=digest,
        work=given.work,
        host=_loopback(given.host),
        port=given.port,
        name=given.name,
        threads=given.threads,
        max_tokens=given.max_tokens,
        max_batch=given.max_batch,
        max_queue=given.max_queue,
    )


def _loopback(host: str) -> str:
    """The address to listen on, if only this machine (or pod) can reach it."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise SettingsError(
            f"--host: {host} can be reached from elsewhere, and an engine has no guard of its own; "
            "use 127.0.0.1 and put plumbline-guard before it"
        )
    return host


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # argparse exits here, we raise
        raise SettingsError(f"{message}; see plumbline-engine --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="plumbline-engine",
        description="Serve one model of the artifact store on this machine's CPU, OpenAI-compatible, loopback only.",
    )
    parser.add_argument(
        "--model", required=True, metavar="URI", help="the store, e.g. file:///srv/store (URI@DIGEST too)"
    )
    parser.add_argument("--digest", metavar="SHA256", help="the model's digest in the store")
    parser.add_argument("--work", required=True, type=Path, metavar="DIR", help="folder for the checked-out model")
    parser.add_argument("--port", required=True, type=int, help="port to listen on; 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default 127.0.0.1)")
    parser.add_argument("--name", default="model", help="the model's name in requests (default model)")
    parser.add_argument("--threads", type=int, default=1, help="threads to compute on (default 1)")
    parser.add_argument("--max-tokens", type=int, default=256, help="longest answer a request may ask for (256)")
    parser.add_argument("--max-batch", type=int, default=64, help="answers computed together (64)")
    parser.add_argument("--max-queue", type=int, default=1024, help="requests that may wait; more get 429 (1024)")
    return parser
