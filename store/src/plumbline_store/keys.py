"""How what a store holds is named, in a folder and in a bucket alike.

layout.json                       {"version": 1}: which version of this arrangement it is
blobs/sha256/<2 digits>/<hex>     contents of files, named by their sha256
manifests/sha256/<hex>.json       canonical manifests, named by their sha256
signatures/sha256/<hex>/<key>.json  what a key says of the artifact with this digest; named by the key's own sha256
cache/<hex>.json                  results of stages, by cache key
imports/<hex>.json                what was imported from where, so that it need not be hashed again
drafts/<hex>/record.json          the newest state of unfinished work, by the cache key of its stage
drafts/<hex>/files/<hex>          its files, named by their sha256

A folder has besides: tmp/, the scratch of living writers.
"""

from typing import Final

__all__ = ["LAYOUT", "aside", "blob", "draft", "draft_file", "imported", "manifest", "result", "signature"]

LAYOUT: Final = "layout.json"


def blob(sha256: str) -> str:
    """The content with this sha256 (hex)."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def manifest(digest: str) -> str:
    """The manifest with this digest."""
    return f"manifests/sha256/{_hex(digest)}.json"


def signature(digest: str, key: str) -> str:
    """What a key says of the artifact with this digest."""
    return f"signatures/sha256/{_hex(digest)}/{key}.json"


def result(cache_key: str) -> str:
    """The recorded result of a stage."""
    return f"cache/{_hex(cache_key)}.json"


def imported(key: str) -> str:
    """What is known of an imported path."""
    return f"imports/{_hex(key)}.json"


def draft(key: str) -> str:
    """What is kept of unfinished work."""
    return f"drafts/{_hex(key)}/record.json"


def draft_file(key: str, sha256: str) -> str:
    """A file of it; with an empty sha256 the folder that they are all in."""
    return f"drafts/{_hex(key)}/files/{sha256}"


def aside(key: str) -> str:
    """Where damaged content is kept for whoever wants to look at it."""
    return f"{key}.damaged"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
