"""`plumbline operator`: settings to a running operator. What it needs of the network is loaded here and not before."""

import sys
from collections.abc import Mapping

from plumbline_api.names import ExitCode

__all__ = ["operate"]


def operate(flags: Mapping[str, object], log_level: str, environ: Mapping[str, str]) -> int:
    """Run the operator; gives the exit code.

    Args:
        flags: As `settings_from` takes them; None where the environment or the default counts.
        log_level: The least that is logged.
        environ: PLUMBLINE_* variables, and KUBECONFIG.
    """
    from plumbline_operator.kube.logs import set_up_logging
    from plumbline_operator.kube.settings import BadSettings, settings_from
    from plumbline_operator.kube.shell import run

    def complain(line: str) -> None:
        sys.stderr.write(f"plumbline: {line}\n")

    try:
        settings = settings_from(environ, **flags)
    except BadSettings as error:
        for problem in error.problems:
            complain(problem)
        return ExitCode.BAD_CONFIG
    set_up_logging(log_level)
    return run(settings, complain)
