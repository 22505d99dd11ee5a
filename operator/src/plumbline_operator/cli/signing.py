"""`plumbline sign` and `plumbline verify`: signatures of artifacts that are in a store already."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from plumbline_api.artifact import ArtifactRef
from plumbline_api.names import ExitCode
from plumbline_store import Store, open_store

if TYPE_CHECKING:
    from plumbline_store.signing import SigningKey

__all__ = ["read_key", "sign", "sign_all", "verify"]


def read_key(path: Path | None) -> "SigningKey | None":
    """The key in a file, where one is named; raises KeyUnusable."""
    if path is None:
        return None
    from plumbline_store.signing import SigningKey

    return SigningKey.read(path)


def sign_all(made: Iterable[ArtifactRef], store: Store, key: "SigningKey | None", console: Console) -> None:
    """Sign what was published, where there is a key for that."""
    if key is None:
        return
    for ref in made:
        _sign(ref.digest, store, key, console)


def sign(digest: str, store: str, key: Path, console: Console) -> int:
    """Sign an artifact that is whole; raises StoreError."""
    from plumbline_store.signing import SigningKey

    signing, place = SigningKey.read(key), open_store(store)
    place.verify(digest)
    _sign(digest, place, signing, console)
    return ExitCode.OK


def _sign(digest: str, store: Store, key: "SigningKey", console: Console) -> None:
    word = "signed" if store.sign(digest, key) else "was signed already"
    console.print(f"{digest} {word} by sha256:{key.name[:12]}", soft_wrap=True, markup=False)


def verify(digest: str, store: str, trust: Sequence[Path], console: Console) -> int:
    """Check the signature first, then the content; raises StoreError."""
    from plumbline_store.signing import Trust

    keys, place = Trust.read(trust), open_store(store)
    place.check_signature(digest, keys)
    place.verify(digest)
    console.print(f"{digest} is whole, and signed by a trusted key", soft_wrap=True, markup=False)
    return ExitCode.OK
