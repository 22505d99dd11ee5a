"""The entry point of `plumbline`: runs a command and turns what goes wrong into one sentence and an exit code."""

import sys
from collections.abc import Sequence

from pydantic import ValidationError
from rich.console import Console
from typer.exceptions import Abort, Exit, TyperException

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError
from plumbline_operator.cli.app import build_app
from plumbline_operator.cli.errors import CommandError
from plumbline_operator.cli.manifests import ManifestProblems
from plumbline_operator.local.errors import LocalError
from plumbline_store import StoreError

__all__ = ["main", "run_command"]


def main() -> None:
    """Run the command line of this process and end it."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit code.

    Every foreseen failure is one sentence on stderr: the place, the fact, the remedy. What nobody foresaw keeps its
    traceback, which is what a report of the defect needs.
    """
    complain = Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print
    try:
        code = build_app()(args=list(arguments), prog_name="plumbline", standalone_mode=False)
    except ManifestProblems as error:
        for problem in error.problems:
            complain(str(problem))
        count = len(error.problems)
        complain(f"plumbline: {count} {'problem' if count == 1 else 'problems'}; nothing was done")
        return ExitCode.BAD_SPEC
    except (BundleError, CommandError, LocalError, StoreError) as error:
        complain(f"plumbline: {error}")
        return error.exit_code
    except Exit as ending:
        return ending.exit_code
    except Abort:
        return ExitCode.PREEMPTED
    except TyperException as error:
        complain(f"plumbline: {error.format_message()} (see --help)")
        return ExitCode.BAD_SPEC
    except ValidationError as error:
        complain(f"plumbline: a file of the state directory cannot be read: {error.title}; use another --state")
        return ExitCode.BAD_CONFIG
    except BrokenPipeError:
        return ExitCode.OK
    return code if isinstance(code, int) else ExitCode.OK
