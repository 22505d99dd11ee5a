"""The artifact store of Plumbline: content-addressed, verified on every read; and the reporter of progress.

Used by operator, trainer and evaluator; depends on the contract alone.
"""

from plumbline_store.errors import (
    ArtifactMissing,
    DigestMismatch,
    KeyUnusable,
    NewerLayout,
    NoSpace,
    NotPermitted,
    SignatureInvalid,
    SourceUnusable,
    StoreError,
    Unavailable,
    UnsupportedStore,
)
from plumbline_store.lineage import Lineage, Presence
from plumbline_store.opening import open_store
from plumbline_store.reporter import Endpoint, FileReporter, Reporter, Silence, StatusReporter, reporter_from
from plumbline_store.source import Told
from plumbline_store.store import Store

__all__ = [
    "ArtifactMissing", "DigestMismatch", "Endpoint", "FileReporter", "KeyUnusable", "Lineage", "NewerLayout", "NoSpace",
    "NotPermitted", "Presence", "Reporter", "SignatureInvalid", "Silence", "SourceUnusable", "StatusReporter", "Store",
    "StoreError", "Told", "Unavailable", "UnsupportedStore", "open_store", "reporter_from",
]  # fmt: skip
