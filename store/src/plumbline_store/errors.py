"""What can go wrong with a store, as a tree; raised by every module here, told to people by the programs.

    StoreError                 something is wrong with the store or its use
    |-- UnsupportedStore       the address is of a kind this version cannot open
    |-- NewerLayout            the store was written by a newer version
    |-- NoSpace                the disk, a quota or a size limit is full
    |-- NotPermitted           the file system or the object store refused
    |-- Unavailable            the object store does not answer
    |-- SourceUnusable         what should be published cannot be
    |-- ArtifactMissing        a digest that the store does not hold
    |-- DigestMismatch         content that does not have the sha256 it must have
    |-- SignatureInvalid       an artifact that no trusted key vouches for
    `-- KeyUnusable            a key to sign with, or to trust, that is none

Each message names the place, the fact and the remedy; each class names the exit code and the reason it stands for.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from plumbline_api.names import ExitCode
from plumbline_api.reasons import Reason

__all__ = [
    "AGAIN", "ArtifactMissing", "DigestMismatch", "KeyUnusable", "NewerLayout", "NoSpace", "NotPermitted",
    "SignatureInvalid", "SourceUnusable", "StoreError", "Unavailable", "UnsupportedStore", "in_plain_words",
]  # fmt: skip

AGAIN = "publish the artifact again (repeat the import or stage that made it) or restore the file from a backup"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class StoreError(Exception):
    """The place, the fact, the remedy."""

    exit_code: ClassVar[int] = ExitCode.BAD_CONFIG
    reason: ClassVar[Reason] = Reason.BAD_CONFIGURATION

    def __init__(self, place: Path | str, fact: str, remedy: str) -> None:
        super().__init__(f"{place}: {fact}; {remedy}")
        self.place = str(place)
        self.fact = fact
        self.remedy = remedy


class UnsupportedStore(StoreError):
    """The address is of a kind this version cannot open."""


class NewerLayout(StoreError):
    """The store was written by a newer version."""


class NoSpace(StoreError):
    """The disk, a quota or a size limit is full; nothing of the attempt is left behind."""


class NotPermitted(StoreError):
    """The file system or the object store refused."""

    exit_code = ExitCode.NOT_PERMITTED
    reason = Reason.NOT_PERMITTED


class Unavailable(StoreError):
    """The object store does not answer; later it may."""

    exit_code = ExitCode.UNAVAILABLE
    reason = Reason.DEPENDENCY_UNAVAILABLE


class SourceUnusable(StoreError):
    """What should be published cannot be."""

    exit_code = ExitCode.BAD_DATA
    reason = Reason.BAD_DATA


class ArtifactMissing(StoreError):
    """A digest that the store does not hold."""

    exit_code = ExitCode.BAD_DATA
    reason = Reason.NOT_FOUND


class DigestMismatch(StoreError):
    """Content that does not have the sha256 it must have."""

    exit_code = ExitCode.BAD_DATA
    reason = Reason.DIGEST_MISMATCH

    def __init__(self, place: str, expected: str, found: str) -> None:
        super().__init__(
            place,
            f"the content has sha256 {found}, but {expected} is recorded: it was damaged or altered",
            AGAIN,
        )
        self.expected = expected
        self.found = found


class SignatureInvalid(StoreError):
    """An artifact that no trusted key vouches for."""

    exit_code = ExitCode.BAD_DATA
    reason = Reason.SIGNATURE_INVALID


class KeyUnusable(StoreError):
    """A key to sign with, or to trust, that is none."""


@contextmanager
def in_plain_words(place: Path) -> Iterator[None]:
    """Turn an OSError about `place` into the StoreError that tells it."""
    try:
        yield
    except OSError as error:
        raise _explain(error, place) from error


def _explain(error: OSError, place: Path) -> StoreError:
    what = error.strerror or type(error).__name__
    if error.errno in FULL:
        return NoSpace(place, f"no space left ({what})", "free space or choose another folder, then run again")
    if error.errno in REFUSED:
        return NotPermitted(place, f"access refused ({what})", "check the owner and mode of the folder")
    return StoreError(place, what, "check that the folder exists and its disk is healthy")
