"""`plumbline sign` and `plumbline verify`: signatures of artifacts that are in a store already."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from plumbline_api.artifact import ArtifactRef
from plumbline_api.names import ExitCode
from plumbline_operator.cli.errors import CommandError
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


def sign(digest: str, store: str, key: Path | None, signature: Path | None, console: Console) -> int:
    """Sign an artifact that is whole, or keep what somebody else has signed of it; raises StoreError."""
    signing = read_key(key)
    bundle = None if signature is None else _read(signature)
    place = open_store(store)
    place.verify(digest)
    if signing is not None:
        _sign(digest, place, signing, console)
    if bundle is not None:
        name = place.attach(digest, bundle)
        console.print(f"{digest} has a signature that names key sha256:{name[:12]}", soft_wrap=True, markup=False)
    return ExitCode.OK


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(str(path), str(error.strerror), "name a file", exit_code=ExitCode.BAD_SPEC) from error


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
