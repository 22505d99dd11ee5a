"""The command `plumbline-engine`: check out, load, serve, end in good order.

The port is taken first, so that a wrong one is told at once and /health can say that the model is being loaded;
checking out and loading happen on the decoding thread. torch is imported there, after its environment is set.
"""

import asyncio
import errno
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from plumbline_api.names import ENV_TERMINATION_LOG, ExitCode
from plumbline_store import StoreError, open_store
from plumbline_trainer.engine.scheduler import Scheduler
from plumbline_trainer.engine.server import Ready, Service, make_app
from plumbline_trainer.engine.settings import Settings, SettingsError, read_settings
from plumbline_trainer.failures import StageFailure, explain_error
from plumbline_trainer.outcome import describe_failure, write_summary
from plumbline_trainer.settings import read_trust, termination_log

if TYPE_CHECKING:
    from plumbline_store.signing import Trust

__all__ = ["main"]

GRACE_SECONDS = 10
"""What open answers get to finish after SIGTERM."""
ENVIRONMENT = {
    # A waiting thread must not spin: it would take the core from the one that works.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

log = logging.getLogger("plumbline.engine")


class _PortRefused(Exception):
    """The address cannot be listened on."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; ends the process with an exit code of ExitCode."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="plumbline-engine: %(message)s")
    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments)
        os.environ.update(ENVIRONMENT | {"OMP_NUM_THREADS": str(settings.threads)})
        asyncio.run(_serve(settings, read_trust(os.environ)))
    except SettingsError as error:
        _end(ExitCode.BAD_CONFIG, error)
    except _PortRefused as error:
        _end(ExitCode.UNAVAILABLE, error)
    except (StoreError, StageFailure) as error:
        _end_told(error)
    except OSError as error:
        failure = explain_error(error)
        if failure is None:
            _end(ExitCode.BAD_CONFIG, error)
        else:
            _end_told(failure)
    except Exception:  # the outermost loop: whatever the model failed with, it is told, and the exit code is 70
        log.exception("the engine failed; this is a defect, please report it with the lines above")
        raise SystemExit(ExitCode.INTERNAL) from None


def _end(code: int, error: Exception) -> None:
    log.error("%s", error)
    raise SystemExit(code)


def _end_told(error: StageFailure | StoreError) -> None:
    """End, and leave the reason where whoever runs this looks for it: an exit code is shared by several."""
    place = termination_log(os.environ)
    if ENV_TERMINATION_LOG in os.environ or place.exists():
        with suppress(OSError):
            write_summary(describe_failure(error, None), place)
    _end(error.exit_code, error)


async def _serve(settings: Settings, trust: "Trust | None") -> None:
    service = Service(
        settings.name, settings.digest, settings.max_tokens, time.time, entropy=lambda: secrets.randbits(63)
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(make_app(service), handler_cancellation=True, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await _listen(runner, settings)
        thread = asyncio.create_task(asyncio.to_thread(_compute, settings, trust, service))
        ending = asyncio.create_task(stop.wait())
        await asyncio.wait({thread, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        service.ending = True
        await _finish(service, thread)
        await thread
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise _PortRefused(
            f"--port: port {settings.port} on {settings.host} {what}; end the program that uses it or give another port"
        ) from error
    host, port = runner.addresses[0][:2]
    log.info("listening on http://%s:%s/v1; loading %s", host, port, settings.digest)


def _compute(settings: Settings, trust: "Trust | None", service: Service) -> None:
    """The decoding thread: check out, load, then serve until told to end."""
    began = time.monotonic()
    folder = open_store(settings.store, trust).checkout(
        settings.digest, settings.work / f"engine-{settings.digest.removeprefix('sha256:')[:12]}"
    )
    from plumbline_trainer.engine.decoder import Decoder
    from plumbline_trainer.engine.loading import load_model

    loaded = load_model(folder, settings.threads)
    scheduler = Scheduler(
        Decoder(loaded.model, loaded.pad),
        loaded.tokenizer,
        loaded.ends,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
    )
    if service.ending:
        return
    service.ready = Ready(scheduler, loaded.prompt, loaded.context)
    log.info("serving %s as %s after %.1f s", settings.digest, settings.name, time.monotonic() - began)
    scheduler.run()


async def _finish(service: Service, thread: asyncio.Task[None]) -> None:
    """Let open answers finish for a while, then give them up; the decoding thread ends with the last of them."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GRACE_SECONDS
    while not thread.done():
        if service.ready is not None:
            service.ready.scheduler.stop()
        await asyncio.wait({thread}, timeout=0.2)
        if loop.time() > deadline:
            for ticket in tuple(service.open_answers):
                ticket.cancel()
