"""From an address to its store: the one place that knows which kinds of store there are."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from plumbline_store.backend import Backend
from plumbline_store.errors import UnsupportedStore
from plumbline_store.folder import Folder, folder_of
from plumbline_store.store import Store

if TYPE_CHECKING:
    from plumbline_store.signing import Trust

__all__ = ["open_store"]


def open_store(uri: str, trust: "Trust | None" = None) -> Store:
    """The store at an address; it is made by the first write.

    With trust, no artifact is handed out that none of the trusted keys has signed.

    A store of scheme s3 is reached as botocore's own settings say: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and
    AWS_CA_BUNDLE in the environment, or the files ~/.aws/config and ~/.aws/credentials.

    Raises:
        UnsupportedStore: for an address of another kind.
        NewerLayout: when a newer version wrote it.
        StoreError: where it cannot be reached, or refuses.
    """
    backend = _BACKENDS.get(urlsplit(uri).scheme)
    if backend is None:
        known = "file:///absolute/path and s3://bucket/prefix"
        raise UnsupportedStore(uri or "''", "this store cannot be opened", f"supported are {known}")
    store = Store(uri, backend(uri), trust)
    store.exists()
    return store


def _folder(uri: str) -> Backend:
    return Folder(folder_of(uri))


def _bucket(uri: str) -> Backend:
    # Imported when it is wanted: the library takes a third of a second and 30 MB.
    from plumbline_store.bucket import open_bucket

    return open_bucket(uri)


_BACKENDS: Final[Mapping[str, Callable[[str], Backend]]] = {"file": _folder, "s3": _bucket}
