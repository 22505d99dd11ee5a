"""The artifact store of Plumbline: content-addressed, verified on every read.

Used by operator, trainer and evaluator; depends on the contract alone.
"""

from plumbline_store.errors import (
    ArtifactMissing,
    DigestMismatch,
    NewerLayout,
    NoSpace,
    NotPermitted,
    SourceUnusable,
    StoreError,
    UnsupportedStore,
)
from plumbline_store.filestore import FileStore, open_store
from plumbline_store.lineage import Lineage, Presence
from plumbline_store.source import Told

__all__ = [
    "ArtifactMissing", "DigestMismatch", "FileStore", "Lineage", "NewerLayout", "NoSpace", "NotPermitted", "Presence",
    "SourceUnusable", "StoreError", "Told", "UnsupportedStore", "open_store",
]  # fmt: skip
