"""`plumbline-trainer run --file RUNFILE --work DIR`: settings, signals, exit codes; the work itself is in `stage`.

The environment of the libraries is set here, before anything imports them. Whatever happens, the last act is to write
the Summary, whose reason and the exit code say the same.
"""

import argparse
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from plumbline_api.names import ExitCode
from plumbline_api.report import Summary
from plumbline_api.runfile import RunFile
from plumbline_store import StoreError
from plumbline_trainer.failures import BadSpec, Preempted, StageFailure, explain
from plumbline_trainer.outcome import describe_failure, describe_preemption, write_summary
from plumbline_trainer.progress import ProgressLog
from plumbline_trainer.settings import Settings, library_environment, read_settings
from plumbline_trainer.stage import Stage, clear_work, run_stage
from plumbline_trainer.stopping import StopSwitch

__all__ = ["main"]

log = logging.getLogger(__name__)


class Arguments(argparse.ArgumentParser):
    """A parser whose usage errors end with the code of a bad spec."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line."""
        self.exit(ExitCode.BAD_SPEC, f"{self.prog}: {message}; see {self.prog} --help\n")


def main() -> None:
    """The console script."""
    stop = StopSwitch()
    stop.install()
    try:
        code = run(sys.argv[1:], stop)
    except Preempted:
        code = ExitCode.PREEMPTED
    sys.exit(code)


def run(argv: Sequence[str], stop: StopSwitch) -> int:
    """Run the command line; returns the exit code."""
    arguments = _arguments().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    warnings.simplefilter("ignore")  # of the libraries; ours are errors in the tests
    settings = read_settings(os.environ)
    summary, code = attempt(arguments.file, arguments.work, settings, stop)
    with stop.deferred():
        log.info("%s: %s", summary.result.value, summary.message or "done")
        write_summary(summary, settings.termination_log)
        if code == ExitCode.OK:
            clear_work(arguments.work)
        settings.progress.close()
    return code


def attempt(file: Path, work: Path, settings: Settings, stop: StopSwitch) -> tuple[Summary, int]:
    """Do the stage; every end becomes a Summary and its exit code."""
    key: str | None = None
    try:
        orders = read_run_file(file)
        key = orders.cache_key
        os.environ.update(library_environment(orders.threads, orders.gpus, work.absolute()))
        shutil.rmtree(work / "tmp", ignore_errors=True)  # what a killed attempt left
        (work / "tmp").mkdir(parents=True)
        progress = ProgressLog(settings.progress, _now)
        place = (settings.nodes(), settings.another_reporter, settings.work_stays, settings.signatures())
        return run_stage(Stage(orders, work.absolute(), progress, stop, _now, *place)), ExitCode.OK
    except Preempted as stopped:
        return _preempted(key, str(stopped))
    except (StageFailure, StoreError) as failure:
        return describe_failure(failure, key), failure.exit_code
    except Exception as error:  # noqa: BLE001  # the outermost loop: whatever it is becomes a summary and a code
        if stop.requested:  # a library caught the stop and raised something of its own
            return _preempted(key)
        failed = explain(error)
        return describe_failure(failed, key), failed.exit_code


def _preempted(key: str | None, why: str = "") -> tuple[Summary, int]:
    message = f"{why or 'told to stop'}; run it again to go on from the last checkpoint"
    return describe_preemption(message, key), ExitCode.PREEMPTED


def read_run_file(path: Path) -> RunFile:
    """The orders in a file; raises BadSpec with every problem's field path and none of its values."""
    try:
        return RunFile.read(path.read_bytes())
    except OSError as error:
        raise BadSpec(f"{path}: {error.strerror}; give the file that `plumbline run` writes") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in found['loc']) or 'file'}: {found['msg']}"
            for found in error.errors(include_input=False, include_url=False, include_context=False)[:5]
        )
        raise BadSpec(f"{path}: not a RunFile this version reads: {problems}") from error


def _arguments() -> argparse.ArgumentParser:
    parser = Arguments(prog="plumbline-trainer", description="Run one training stage of Plumbline.")
    commands = parser.add_subparsers(required=True, metavar="run")
    command = commands.add_parser("run", help="train as a RunFile says and publish the model")
    command.add_argument("--file", type=Path, required=True, help="the RunFile (JSON)")
    command.add_argument("--work", type=Path, required=True, help="folder for checkpoints; keep it between attempts")
    return parser


def _now() -> datetime:
    return datetime.now(UTC)
