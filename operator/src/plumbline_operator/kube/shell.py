"""The operator as kopf runs it: kopf gives the process its life (signals, order of starting and stopping, login).

kopf watches nothing here. Its handlers take 0.4 ms and 8 kB for an object and an event before any code of ours runs, a
failure within a watch ends its process, and what vanishes while a watch is broken is never reported; `watch` has none
of this. So there are no handlers of objects, and therefore no finalizers, annotations or patches of kopf's either.
"""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any, Final

import kopf
import uvloop

from plumbline_api.names import ExitCode
from plumbline_operator.kube.api.errors import ApiError
from plumbline_operator.kube.api.login import LoginFailed, find_credentials
from plumbline_operator.kube.assembly import NotPermitted, Operator
from plumbline_operator.kube.progress.certificates import CertificateUnusable
from plumbline_operator.kube.settings import BadSettings, KubeSettings

__all__ = ["Shell", "run"]

_LOG: Final = logging.getLogger(__name__)
_KILL_AFTER: Final = 10.0
"""Seconds after which kopf kills a process that does not end."""

Foreseen = (BadSettings, NotPermitted, LoginFailed, CertificateUnusable, ApiError, OSError)


class Shell:
    """One operator in the life of one process."""

    def __init__(
        self, make: Callable[[], Operator], stop: Callable[[], None], ended: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare; kopf starts it.

        Args:
            make: Makes the operator, within the loop. May raise BadSettings.
            stop: Ends kopf: called when a part of the operator has ended that must not.
            ended: Called when the operator has been stopped, for whatever reason.
        """
        self.operator: Operator | None = None
        self.failure: Exception | None = None
        """Why the operator could not be started."""
        self._make = make
        self._stop = stop
        self._ended = ended
        self._watching: asyncio.Task[None] | None = None

    def register(self, registry: kopf.OperatorRegistry | None = None) -> None:
        """Hang the operator into a registry of kopf; None stands for the one of `kopf run`."""

        @kopf.on.startup(registry=registry)
        async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
            _configure(settings)
            try:
                await self._start()
            except Foreseen as error:
                self.failure = error
                raise kopf.PermanentError(str(error)) from error

        @kopf.on.cleanup(registry=registry)
        async def end(**_: Any) -> None:
            if self._watching is not None:
                self._watching.cancel()
            if self.operator is not None:
                await self.operator.stop()
            _drop_calls_of_kopf()
            self._ended()

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> kopf.ConnectionInfo | None:
            return find_credentials()

    async def _start(self) -> None:
        _spare_the_collector()
        self.operator = self._make()
        if self.operator.settings.check_permissions:
            await self.operator.check()
        await self.operator.start()
        self._watching = asyncio.create_task(self._stop_when_failed(self.operator), name="stop when failed")

    async def _stop_when_failed(self, operator: Operator) -> None:
        await operator.failed.wait()
        self._stop()


def _spare_the_collector() -> None:
    """Let the search for reference cycles pass over what is loaded by now, and begin less often.

    Half of the time that taking in a list took went into it: every page brings ten thousands of objects that live a
    moment and have no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _drop_calls_of_kopf() -> None:
    """Cancel the calls by which kopf learns, at its start, what the server has.

    It ends without ending them and waits five seconds for whatever is left, in which they try again and again.
    """
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and frame.f_globals["__name__"].startswith("kopf._cogs.clients."):
            task.cancel()


def _configure(settings: kopf.OperatorSettings) -> None:
    """What of kopf is wrong for us by default."""
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.networking.connect_timeout = 5.0
    settings.networking.request_timeout = 30.0
    settings.process.ultimate_exiting_timeout = _KILL_AFTER


def run(settings: KubeSettings, say: Callable[[str], None]) -> int:
    """Run an operator until a signal ends it, or until it fails; gives the exit code.

    Args:
        settings: Checked settings.
        say: Told in plain words why it could not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, say))


async def _run(settings: KubeSettings, say: Callable[[str], None]) -> int:
    stopped = asyncio.Event()
    # kopf waits for this flag in a task that a signal does not end; unless it is set, that takes five seconds.
    shell = Shell(lambda: Operator(settings), stop=stopped.set, ended=stopped.set)
    registry = kopf.OperatorRegistry()
    shell.register(registry)
    try:
        await kopf.operator(
            registry=registry,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            standalone=True,
            stop_flag=stopped,
        )
    except Exception:
        if shell.failure is None:
            raise
    if shell.failure is not None:
        return _explain(shell.failure, say)
    return ExitCode.OK if shell.operator is None else shell.operator.exit_code


def _explain(failure: Exception, say: Callable[[str], None]) -> int:
    if isinstance(failure, NotPermitted):
        for line in failure.missing:
            say(f"the operator may not {line}; add it to its role")
        return ExitCode.NOT_PERMITTED
    say(str(failure))
    if isinstance(failure, CertificateUnusable):
        return ExitCode.BAD_CONFIG
    return ExitCode.NOT_PERMITTED if isinstance(failure, LoginFailed) else ExitCode.UNAVAILABLE
