"""One component of a control plane: a process that can be stopped, killed, paused and started again."""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Component"]

GRACE = 60.0
OWNER = "PLUMBLINE_KUBE_OWNER"
"""Read by build/kube/main.go: the process with whose end the kernel kills the component."""


class Component:
    """A program of the build, its arguments and its log; the log goes on over restarts."""

    def __init__(self, program: Path, arguments: Sequence[str], log: Path) -> None:
        self.program, self.arguments, self.log = program, tuple(arguments), log
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def name(self) -> str:
        """Such as kube-apiserver."""
        return self.program.name

    @property
    def pid(self) -> int:
        """Of the process, running or ended; 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def ended(self) -> int | None:
        """The exit code, negative for a signal; None while it runs and before the first start."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process lives, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin, and return at once; readiness is the control plane's matter."""
        if threading.current_thread() is not threading.main_thread():
            # The kernel takes the end of the starting thread for the end of the owner.
            raise RuntimeError(f"{self.name} can be started from the main thread only")
        if self.running:
            raise RuntimeError(f"{self.name} runs already, as process {self.pid}")
        self._paused = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                # An interrupt from the terminal is for the tests, which end their components in order.
                start_new_session=True,
            )

    def stop(self) -> int:
        """End in order within the grace, or else by force; the exit code."""
        self._signal(signal.SIGTERM)
        self.resume()
        try:
            return self._wait(GRACE)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End at once, paused or not; the exit code."""
        self._signal(signal.SIGKILL)
        return self._wait(None)

    def pause(self) -> None:
        """Stop the process where it is: to its clients it looks like a network that swallows everything."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let a paused process go on."""
        if self._paused:
            self._signal(signal.SIGCONT)
            self._paused = False

    def complaints(self, lines: int = 12) -> str:
        """The last lines of the log that speak of an error, or the very last where none does."""
        if not self.log.exists():
            return ""
        text = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        bad = [line for line in text if line.startswith(("E", "F", "panic")) or '"level":"fatal"' in line]
        return "\n".join(line[:400] for line in (bad or text)[-lines:])

    def _command(self) -> list[str]:
        return [str(self.program), *self.arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, OWNER: str(os.getpid())}

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self, seconds: float | None) -> int:
        return 0 if self._process is None else self._process.wait(seconds)
