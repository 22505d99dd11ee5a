"""The command `plumbline-evaluator`: run an evaluation, check a model out, count a suite's cases, measure the judge.

The only module of this package that reads the environment and writes to the terminal. It turns every known failure
into a sentence, a summary and an exit code.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import uvloop
import yaml
from pydantic import ValidationError

from plumbline_api.names import ENV_TERMINATION_LOG, ENV_TRUST, ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.redteam import RedTeamSuite
from plumbline_api.report import Result, Summary
from plumbline_api.runfile import RunFile
from plumbline_evaluator.checkout import check_out
from plumbline_evaluator.errors import BadInstallation, BadOrders, EvaluationError, Stopped
from plumbline_evaluator.execution import Surroundings, execute
from plumbline_evaluator.judge import Calibration
from plumbline_evaluator.suite import list_cases, tabulate
from plumbline_evaluator.summary import leave
from plumbline_store import StoreError, reporter_from

__all__ = ["main"]

log = logging.getLogger("plumbline_evaluator")

_TERMINATION_LOG = "/dev/termination-log"
"""Where Kubernetes looks for a summary; by hand, where nobody looks, the summary is printed."""


def main() -> None:
    """Parse the command line, do it, and exit with its code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    options = _parser().parse_args()
    commands = {"run": _run, "checkout": _checkout, "cases": _cases, "judge": _judge}
    sys.exit(commands[options.command](options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plumbline-evaluator", description="Attack a model and judge its answers.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute a RunFile against a target")
    run.add_argument("--file", type=Path, required=True, help="the RunFile")
    run.add_argument("--work", type=Path, required=True, help="a folder that outlives this attempt")
    run.add_argument("--target", required=True, help="OpenAI-compatible address, ending in /v1")
    run.add_argument("--wait", type=float, default=300.0, help="seconds the target may take to come up (300)")
    checkout = commands.add_parser("checkout", help="put a model of the store into a folder, verified")
    checkout.add_argument("--model", required=True, metavar="URI", help="the store, e.g. s3://bucket/prefix")
    checkout.add_argument("--digest", required=True, metavar="SHA256", help="the model's digest in the store")
    checkout.add_argument("--into", type=Path, required=True, metavar="DIR", help="the folder, which appears then")
    cases = commands.add_parser("cases", help="count the cases of a suite, without asking them")
    cases.add_argument("--suite", type=Path, required=True, help="a manifest of one RedTeamSuite")
    judge = commands.add_parser("judge", help="measure the judge on labelled answers")
    judge.add_argument("--calibrate", action="store_true", required=True, help="print its precision and recall")
    return parser


def _run(options: argparse.Namespace) -> int:
    around = Surroundings(
        work=options.work,
        target=options.target,
        progress=reporter_from(os.environ),
        wait=options.wait,
        now=lambda: datetime.now(UTC),
        trust=os.environ.get(ENV_TRUST),
    )
    summary, code = _attempt(options.file, around)
    log.log(logging.INFO if code == ExitCode.OK else logging.ERROR, "%s: %s", summary.reason, summary.message)
    code = _leave(summary, code)
    around.progress.close()
    return code


def _leave(summary: Summary, code: int) -> int:
    """Bring the summary to whoever waits for it; the exit code, another where that was not possible."""
    place = Path(os.environ.get(ENV_TERMINATION_LOG) or _TERMINATION_LOG)
    if ENV_TERMINATION_LOG not in os.environ and not place.exists():
        sys.stdout.write(summary.pretty())
        return code
    try:
        leave(summary, place)
    except BadInstallation as error:
        log.error("%s", error)
        return code or error.exit_code
    return code


def _attempt(file: Path, around: Surroundings) -> tuple[Summary, int]:
    """The summary and the exit code, whatever happens."""

    def work() -> Summary:
        run = _read_run_file(file)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_stoppable(run, around))

    return _told(work, around.work)


def _told(work: Callable[[], Summary], place: Path) -> tuple[Summary, int]:
    """What came of some work in a folder, and the exit code: every known failure as a summary."""
    try:
        return work(), ExitCode.OK
    except Stopped as error:
        return Summary(result=Result.PREEMPTED, reason=error.reason, message=str(error)[:512]), error.exit_code
    except (EvaluationError, StoreError) as error:
        return _failure(error.reason, str(error)), error.exit_code
    except OSError as error:
        fact = f"{error.filename or place}: {error.strerror}; free space or check the folder's mode, run again"
        return _failure(Reason.BAD_CONFIGURATION, fact), ExitCode.BAD_CONFIG
    except Exception as error:
        log.exception("this is a defect of the evaluator")
        kind = type(error).__name__
        return _failure(Reason.INTERNAL_ERROR, f"a defect of the evaluator ({kind}); see its log"), ExitCode.INTERNAL


async def _stoppable(run: RunFile, around: Surroundings) -> Summary:
    """Execute, and end at the next safe point when told to stop."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel if task else loop.stop)
    try:
        return await execute(run, around)
    except asyncio.CancelledError:
        raise Stopped("told to stop; finished cases are kept, run again to go on") from None


def _failure(reason: Reason, message: str) -> Summary:
    return Summary(result=Result.FAILED, reason=reason, message=message[:512])


def _read_run_file(path: Path) -> RunFile:
    try:
        return RunFile.read(path.read_bytes())
    except OSError as error:
        raise BadOrders(f"{path}: cannot be read ({error.strerror}); name the RunFile with --file") from error
    except ValidationError as error:
        raise BadOrders(f"{path}: not a RunFile this version reads: {_problems(error)}") from error


def _checkout(options: argparse.Namespace) -> int:
    """For an engine that knows no store; what went wrong is left as a summary, success needs no word."""
    trust = os.environ.get(ENV_TRUST)
    summary, code = _told(lambda: check_out(options.model, options.digest, options.into, trust), options.into)
    if code == ExitCode.OK:
        log.info("%s", summary.message)
        return code
    log.error("%s: %s", summary.reason, summary.message)
    return _leave(summary, code)


def _cases(options: argparse.Namespace) -> int:
    try:
        suite = _read_suite(options.suite)
        sys.stdout.write(tabulate(list_cases(suite.spec)))
    except EvaluationError as error:
        log.error("%s", error)
        return error.exit_code
    return ExitCode.OK


def _read_suite(path: Path) -> RedTeamSuite:
    try:
        return RedTeamSuite.parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadOrders(f"{path}: cannot be read ({error.strerror}); name a manifest with --suite") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadOrders(f"{path}: not YAML; check its syntax") from error
    except ValidationError as error:
        raise BadOrders(f"{path}: not a RedTeamSuite: {_problems(error)}") from error


def _problems(error: ValidationError) -> str:
    """Each problem as `field.path: fact`, without the values given."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)[:5]
    )


def _judge(_: argparse.Namespace) -> int:
    sys.stdout.write(Calibration.installed().table())
    return ExitCode.OK
