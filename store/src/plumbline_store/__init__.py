"""The artifact store of Plumbline: content-addressed, verified on every read; and the reporter of progress.

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
from plumbline_store.reporter import Endpoint, FileReporter, Reporter, Silence, StatusReporter, reporter_from
from plumbline_store.source import Told

__all__ = [
    "ArtifactMissing", "DigestMismatch", "Endpoint", "FileReporter", "FileStore", "Lineage", "NewerLayout", "NoSpace",
    "NotPermitted", "Presence", "Reporter", "Silence", "SourceUnusable", "StatusReporter", "StoreError", "Told",
    "UnsupportedStore", "open_store", "reporter_from",
]  # fmt: skip
