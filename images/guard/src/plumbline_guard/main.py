"""The command `plumbline-guard`: reads its settings, opens the port, serves until it is told to stop.

The only module that reads the command line, takes signals and knows clocks. Everything else is given to the parts.
"""

import argparse
import asyncio
import contextlib
import logging
import re
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import uvloop
from aiohttp import web

from plumbline_api.names import ExitCode
from plumbline_guard.decisions import DecisionLog
from plumbline_guard.errors import PolicyError
from plumbline_guard.policy import Policy, read_policy
from plumbline_guard.server import Clocks, Guard
from plumbline_guard.upstream import connect

__all__ = ["main"]

_LOOK_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    policy: Path
    upstream: str
    host: str
    port: int
    linger: float
    grace: float


class _PortError(Exception):
    """The port cannot be had."""


class _Arguments(argparse.ArgumentParser):
    """Ends with the exit code of a bad specification."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.BAD_SPEC, f"plumbline-guard: {message}\n")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the guard and end the process."""
    settings = _read_settings(arguments)
    try:
        policy = read_policy(settings.policy)
    except PolicyError as error:
        _end(error.exit_code, str(error))
    if policy.holds_whole_answers:
        _say("a Never pattern is too complex to hold back only what it needs; streamed answers come in one piece")
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # its messages may quote a request
    try:
        uvloop.run(_serve(settings, policy))
    except _PortError as error:
        _end(ExitCode.UNAVAILABLE, str(error))
    sys.exit(ExitCode.OK)


def _read_settings(arguments: Sequence[str] | None) -> Settings:
    parser = _Arguments(prog="plumbline-guard", description="Guards an OpenAI-compatible engine with a policy.")
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="the PolicyFile to enforce")
    parser.add_argument("--upstream", type=_address, required=True, metavar="URL", help="the engine, without /v1")
    parser.add_argument("--port", type=_port, required=True, metavar="N", help="where to listen")
    parser.add_argument(
        "--linger", type=_seconds, default=0.0, metavar="S", help="go on answering so long after SIGTERM (default: 0)"
    )
    parser.add_argument(
        "--grace", type=_seconds, default=10.0, metavar="S", help="then wait so long for answers at work (default: 10)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    given = parser.parse_args(arguments)
    return Settings(**vars(given))


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+(/v1)?/?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address like http://127.0.0.1:8000")
    return text.rstrip("/").removesuffix("/v1")


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65535")
    return int(text)


async def _serve(settings: Settings, policy: Policy) -> None:
    stop = asyncio.Event()
    _on_signals(stop.set)
    clocks = Clocks(time.perf_counter, time.time, lambda: uuid.uuid4().hex)
    log = DecisionLog(sys.stdout)
    async with connect(settings.upstream, policy.file.subject) as engine:
        guard = Guard(policy, engine, log, clocks)
        server = web.Server(guard.handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=settings.grace)
        await runner.setup()
        try:
            await _listen(runner, settings)
            log.note("listening", time.time(), host=settings.host, port=settings.port, rules=len(policy.file.rules))
            watching = asyncio.create_task(_watch(guard))
            await stop.wait()
            guard.draining = True
            log.note("draining", time.time())
            # Whoever sends requests here learns only after a while that this guard is going.
            await asyncio.sleep(settings.linger)
            watching.cancel()
        finally:
            await runner.cleanup()  # waits for requests at work
    log.note("stopped", time.time())


async def _listen(runner: web.ServerRunner, settings: Settings) -> None:
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        place = f"port {settings.port} of {settings.host}"
        raise _PortError(f"cannot listen on {place}: {error.strerror or error}; choose another --port") from error


def _on_signals(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _watch(guard: Guard) -> None:
    """Keep the readiness known, so that requests need not ask."""
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await guard.look()
            await asyncio.sleep(_LOOK_SECONDS)


def _say(message: str) -> None:
    sys.stderr.write(f"plumbline-guard: {message}\n")


def _end(code: int, message: str) -> NoReturn:
    _say(message)
    sys.exit(code)


if __name__ == "__main__":
    main()
