"""Objects as few bytes, for as long as nobody looks at them: most are looked at a few times in hours.

Objects of one kind differ in little, so each is compressed by what it has in common with a sample of its kind (a preset
dictionary, RFC 1950 section 2.2): a tenth of its length, in less time than without one.
"""

import zlib
from collections.abc import Hashable
from typing import Final

__all__ = ["Packing"]

_RAW: Final = -zlib.MAX_WBITS
"""No header and no checksum: nothing of this leaves the process."""
_WINDOW: Final = 1 << zlib.MAX_WBITS
"""Bytes of a sample that are of use."""


class Packing:
    """Samples of all kinds there are, and what is packed by them."""

    def __init__(self) -> None:
        self._samples: dict[Hashable, bytes] = {}

    def pack(self, kind: Hashable, content: bytes) -> bytes:
        """The content of an object in short; the first of a kind is the sample for all others."""
        sample = self._samples.setdefault(kind, content[:_WINDOW])
        packer = zlib.compressobj(1, zlib.DEFLATED, _RAW, zdict=sample)
        return packer.compress(content) + packer.flush()

    def unpack(self, kind: Hashable, packed: bytes) -> bytes:
        """The content again."""
        return zlib.decompressobj(_RAW, zdict=self._samples[kind]).decompress(packed)
