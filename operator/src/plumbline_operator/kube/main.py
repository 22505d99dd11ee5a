"""For `kopf run -m plumbline_operator.kube.main`: the operator with its settings from the environment.

`plumbline operator` runs the same with flags, exit codes and logs of its own.
"""

import os
import signal

from plumbline_operator.kube.assembly import Operator
from plumbline_operator.kube.settings import settings_from
from plumbline_operator.kube.shell import Shell

__all__ = ["SHELL"]


def _stop() -> None:
    signal.raise_signal(signal.SIGTERM)


SHELL = Shell(lambda: Operator(settings_from(os.environ)), _stop)
"""Registered with kopf when this module is imported, which is what `kopf run -m` does."""
SHELL.register()
