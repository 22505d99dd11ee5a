"""A model out of the store for an engine that knows no store: every file verified, and signed where that is asked.

Called by main.py for the container that has to end before such an engine starts.
"""

import re
import time
from pathlib import Path

from plumbline_api.report import Result, Summary
from plumbline_evaluator.errors import BadInstallation
from plumbline_evaluator.trust import parse_trust
from plumbline_store import open_store

__all__ = ["check_out"]


def check_out(store: str, digest: str, into: Path, trust: str | None) -> Summary:
    """Put the model into a folder, which appears when it is complete; one that is there is verified.

    Args:
        store: URI of the store.
        digest: The model's digest in it.
        into: The folder.
        trust: The public keys (PEM) of which one must have signed the model; None where that is not asked.

    Raises:
        StoreError: it is not there, or not what it must be, or not signed by any of these.
        BadInstallation: the command line makes no sense.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise BadInstallation("--digest: give the model's digest, sha256: and 64 hexadecimal digits")
    began = time.monotonic()
    into.parent.mkdir(parents=True, exist_ok=True)
    open_store(store, parse_trust(trust)).checkout(digest, into)
    seconds = time.monotonic() - began
    return Summary(result=Result.SUCCEEDED, message=f"{digest} is in {into}, verified, after {seconds:.1f} s")
