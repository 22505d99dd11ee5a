"""Reading the PolicyFile and compiling its rules: everything that can be wrong with a policy is found at start.

Called by main; raises PolicyError with the exit code that says whose mistake it is.
"""

from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import ValidationError

from plumbline_api.names import ExitCode
from plumbline_api.policyfile import PolicyFile
from plumbline_guard.errors import PolicyError
from plumbline_guard.inspection import Inspector
from plumbline_guard.rules import OutputRules, compile_input, compile_output

__all__ = ["Policy", "read_policy"]

_VERSION = 1


@dataclass(frozen=True)
class Policy:
    """A policy ready to be enforced."""

    file: PolicyFile
    input: Inspector
    output: OutputRules

    @property
    def holds_whole_answers(self) -> bool:
        """Whether streams arrive in one piece, because of a Never pattern whose beginnings are not known."""
        return self.output.never is not None and self.output.never.whole


def read_policy(path: Path) -> Policy:
    """Read, check and compile a policy file; raises PolicyError."""
    file = _parsed(path, _bytes(path))
    try:
        return Policy(file, Inspector(compile_input(file.rules)), compile_output(file.rules))
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}", error.exit_code) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}; give --policy a readable PolicyFile") from error


def _parsed(path: Path, raw: bytes) -> PolicyFile:
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise PolicyError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > _VERSION:
        known = f"this guard knows version {_VERSION}; use a guard as new as the operator that wrote it"
        raise PolicyError(f"{path}: version {version}: {known}", ExitCode.BAD_CONFIG)
    try:
        return PolicyFile.read(raw)
    except ValidationError as error:
        problems = "; ".join(_problem(each["loc"], each["msg"]) for each in error.errors(include_input=False)[:5])
        raise PolicyError(f"{path}: {problems}") from error


def _problem(location: tuple[int | str, ...], message: str) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{path or 'the document'}: {message}"
