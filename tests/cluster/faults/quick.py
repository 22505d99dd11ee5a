"""Operators as processes that can be killed, and that start in a fraction of a second.

Each is forked from a server that has loaded everything already; from the fork on it is what `plumbline operator` is:
its settings from the environment, kopf, all of it. A signal ends it as it ends any process.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

import yaml

from plumbline_operator.kube.lease import LeaseTimes
from plumbline_operator.kube.logs import set_up_logging
from plumbline_operator.kube.settings import settings_from
from plumbline_operator.kube.shell import run
from tests.cluster.client import eventually
from tests.support import build

__all__ = ["Orders", "Quick", "quick_operator"]

CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
WAIT: Final = 0.02


@dataclass(frozen=True)
class Orders:
    """What an operator is told."""

    server: str
    """An API server of plain HTTP: a proxy."""
    namespace: str
    lease: LeaseTimes | None = None
    """None does without a lease."""
    workers: int = 16
    release: str = ""
    """Another one has other images."""
    check_permissions: bool = True


@dataclass
class Quick:
    """One of them."""

    process: ForkServerProcess
    log: Path

    @property
    def running(self) -> bool:
        """Whether it lives, stopped or not."""
        return self.process.is_alive()

    def kill(self) -> None:
        """End it as a crash does: with SIGKILL, and no turn of it after this line."""
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        """Take all time from it."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Give it back."""
        self._signal(signal.SIGCONT)

    def lines(self, message: str = "") -> list[dict[str, Any]]:
        """What it logged, or what of it has that message."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in found if message in ("", line["message"])]

    async def until_logged(self, message: str, seconds: float = 60.0) -> dict[str, Any]:
        """The first line with that message, once there is one."""
        async with asyncio.timeout(seconds):
            while not (found := self.lines(message)):
                assert self.running, self.log.read_text()[-3000:]
                await asyncio.sleep(WAIT)
        return found[0]

    async def ended(self, seconds: float = 60.0) -> int:
        """Its exit code, once it has ended."""

        async def look() -> list[int]:
            code = self.process.exitcode
            return [] if code is None else [code]

        return (await eventually(look, seconds))[0]

    def _signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


@contextmanager
def quick_operator(folder: Path, orders: Orders, name: str = "operator") -> Iterator[Quick]:
    """An operator, killed at the end if it still runs."""
    log = folder / f"{name}.log"
    process = CONTEXT.Process(target=_operate, args=(orders, _kubeconfig(folder, orders.server), log), daemon=True)
    process.start()
    made = Quick(process, log)
    try:
        yield made
    finally:
        made.kill()
        process.close()


def _operate(orders: Orders, kubeconfig: Path, log: Path) -> None:
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["KUBECONFIG"] = str(kubeconfig)
    set_up_logging("info")
    images = {image.value: reference for image, reference in build.RUNTIME.images.items()}
    if orders.release:
        images = {image: reference.replace("plumbline/", f"{orders.release}/") for image, reference in images.items()}
    pods = json.dumps({"images": images, "store": build.STORE, "egress": []})
    flags = {"host": "127.0.0.1", "port": 0, "namespaces": orders.namespace, "workers": orders.workers}
    lease = None if orders.lease is None else orders.namespace
    settings = settings_from({"PLUMBLINE_PODS": pods}, **flags, lease_namespace=lease)
    settings = replace(settings, check_permissions=orders.check_permissions, lease=orders.lease or settings.lease)
    sys.exit(run(settings, lambda line: print(line, file=sys.stderr)))  # noqa: T201 - its log


def _end_with_the_test() -> None:
    """Do not live on when the test process was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _kubeconfig(folder: Path, server: str) -> Path:
    """A kubeconfig for a server that asks nobody who he is."""
    path = folder / f"{server.rpartition(':')[2]}.kubeconfig"
    context = {"name": "here", "context": {"cluster": "here", "user": "here"}}
    clusters, users = [{"name": "here", "cluster": {"server": server}}], [{"name": "here", "user": {}}]
    path.write_text(
        yaml.safe_dump({"current-context": "here", "contexts": [context], "clusters": clusters, "users": users})
    )
    return path
