"""What a token of a service account says of itself, before anybody vouches for it. Pure.

Called by the status endpoint: what claims nothing useful need not be reviewed. What a token claims is believed by
nobody; the API server's review decides.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Claims", "read_claims"]

_LONGEST: Final = 8_192
"""Characters of a token; those of service accounts have about 1,500."""


@dataclass(frozen=True)
class Claims:
    """What a token claims."""

    audiences: tuple[str, ...]
    pod_uid: str | None
    """The pod that it is bound to."""


def read_claims(token: str) -> Claims | None:
    """The claims of a token; None where it is none, or not that of a service account."""
    if len(token) > _LONGEST or not token.isascii():
        return None
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        found: Any = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        audiences, account = found["aud"], found["kubernetes.io"]
        pod = account.get("pod") or {}
        return Claims(tuple(map(str, [audiences] if isinstance(audiences, str) else audiences)), pod.get("uid"))
    except (ValueError, binascii.Error, RecursionError, TypeError, KeyError, AttributeError):
        return None
