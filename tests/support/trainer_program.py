"""The `plumbline-trainer` program as the operator runs it: attempts, signals, what it leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from plumbline_api.names import ENV_PROGRESS, ENV_TERMINATION_LOG, ExitCode
from plumbline_api.report import Summary
from plumbline_api.runfile import RunFile

__all__ = ["PATIENCE", "Program"]

PATIENCE: Final = 240
"""Seconds that an attempt may last."""


class Program:
    """One stage's program, its files and its attempts."""

    def __init__(self, folder: Path, orders: RunFile) -> None:
        self.folder = folder
        self.checkpoints = folder / "work" / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(orders.pretty())

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        """Begin an attempt, with more in its environment."""
        environment = {
            **os.environ,
            ENV_TERMINATION_LOG: str(self.folder / "summary"),
            ENV_PROGRESS: str(self.folder / "progress"),
            **environment,
        }
        command = [sys.executable, "-m", "plumbline_trainer", "run"]
        return subprocess.Popen(
            [*command, "--file", str(self.folder / "run.json"), "--work", str(self.folder / "work")],
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self) -> str:
        """One attempt to its end; what it wrote."""
        with self.start() as child:
            _, err = child.communicate(timeout=PATIENCE)
        assert child.returncode == ExitCode.OK, err
        return err

    def stop_when(self, ready: Callable[[], bool], number: signal.Signals, *, delay: float = 0) -> int:
        """One attempt that gets a signal in the middle; its exit code."""
        with self.start() as child:
            end = time.monotonic() + PATIENCE
            while not ready() and child.poll() is None and time.monotonic() < end:
                time.sleep(0.005)
            time.sleep(delay)
            child.send_signal(number)
            child.communicate(timeout=PATIENCE)
        return child.returncode

    def phase(self, name: str) -> Callable[[], bool]:
        """Whether the program has come to a phase."""
        return lambda: (self.folder / "progress").exists() and name in (self.folder / "progress").read_text()

    @property
    def summary(self) -> Summary:
        """What it left for the operator."""
        return Summary.read((self.folder / "summary").read_bytes())
