"""Zstandard (RFC 8878) for layers, with bytes that depend on the content alone, and not on the time or the cores.

containerd has unpacked it since 1.5, CRI-O and Docker (23) do too; it takes a tenth of the time of gzip to write and a
fourth to read, for the same size.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from zstandard import ZstdCompressor, ZstdDecompressor

__all__ = ["MEDIA_TYPE", "compress", "plain"]

MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
"""What layers are called in a manifest (OCI image specification 1.1, layer.md)."""
_LEVEL: Final = 3
_FEWEST: Final = 2
"""Threads. Any number of them writes the same, but for one, which works in another way."""


def compress(source: Path, target: Path) -> tuple[str, int]:
    """Write `source` into `target`, compressed; gives digest and size of that."""
    digest, size = hashlib.sha256(), 0
    compressor = ZstdCompressor(_LEVEL, threads=max(_FEWEST, os.cpu_count() or 1), write_checksum=True)
    with source.open("rb") as file, target.open("wb") as output:
        for packed in compressor.read_to_iter(file, size=source.stat().st_size):
            size += output.write(packed)
            digest.update(packed)
    return f"sha256:{digest.hexdigest()}", size


@contextmanager
def plain(blob: Path) -> Iterator[IO[bytes]]:
    """What was compressed, as a stream."""
    with blob.open("rb") as file, ZstdDecompressor().stream_reader(file) as stream:
        yield stream
