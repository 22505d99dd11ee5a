"""What local mode is told about the machine and the person's wishes; read once, by whoever starts a session."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LocalSettings", "read_settings"]

PASSED_ON = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
"""All that a container sees of its caller's environment, beside PATH: no secrets, no proxies, no Python settings."""


@dataclass(frozen=True)
class LocalSettings:
    """One machine, one caller. Times are in seconds and are arguments for the tests' sake."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """The environment that every container starts from."""
    programs: Path | None = None
    """A folder that is searched for programs before all others (PLUMBLINE_LOCAL_BIN)."""
    cores: int = 1
    """Jobs run beside each other as long as the cores they ask for fit into these."""
    guard_port: int | None = None
    """The port of a served guard; None takes a free one."""
    trust: str | None = None
    """Public keys (PEM) that what is trained from and served must be signed by; None where that is not asked."""
    signing_key: Path | None = None
    """The file that stands for the Secret of every `spec.output.sign`, and signs the files that are imported."""
    first_delay: float = 1.0
    """Before the first retry of a Job or container; it doubles each time."""
    longest_delay: float = 60.0
    poll: float = 1.0
    """Between two looks at progress files."""
    ending_poll: float = 0.05
    """Between two looks at processes of an earlier plumbline that are ending."""
    memory_period: float = 0.1
    """Between two looks at the memory that a container holds."""


def read_settings(
    environ: Mapping[str, str],
    *,
    guard_port: int | None = None,
    trust: str | None = None,
    signing_key: Path | None = None,
) -> LocalSettings:
    """The settings that an environment holds; PLUMBLINE_LOCAL_BIN names a folder of programs to prefer."""
    programs = environ.get("PLUMBLINE_LOCAL_BIN")
    folders = [programs] if programs else []
    folders += [str(Path(sys.executable).parent), environ.get("PATH", os.defpath)]
    environment = {name: environ[name] for name in PASSED_ON if name in environ}
    return LocalSettings(
        environment={**environment, "PATH": os.pathsep.join(folders)},
        programs=Path(programs).resolve() if programs else None,
        cores=len(os.sched_getaffinity(0)),
        guard_port=guard_port,
        trust=trust,
        signing_key=signing_key,
    )
