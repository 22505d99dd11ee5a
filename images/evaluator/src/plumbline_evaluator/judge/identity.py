"""Which judge it was: a name that changes with every change of the rules.

Called by execution.py and calibration.py; stands in reports and in the ledger.
"""

import hashlib
from functools import cache
from importlib import resources

__all__ = ["identify_judge"]

_RULES = ("phrases.py", "rules.py", "text.py")


@cache
def identify_judge() -> str:
    """`rules-` and the first digits of the sha256 of the rules as they are written."""
    folder = resources.files(__package__)
    text = b"".join(folder.joinpath(name).read_bytes() for name in _RULES)
    return f"rules-{hashlib.sha256(text).hexdigest()[:12]}"
