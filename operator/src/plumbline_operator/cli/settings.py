"""The caller's environment, read in one place and passed on."""

import os
from collections.abc import Mapping

__all__ = ["caller_environment"]


def caller_environment() -> Mapping[str, str]:
    """The environment that `plumbline` was started with."""
    return os.environ
