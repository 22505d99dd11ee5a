"""What is signed of an artifact, as OpenSSF model signing 1.0 writes it: which files, with which sha256.

An in-toto statement in a DSSE envelope in a Sigstore bundle. Used by `signing`; pure, and without any cryptography.
What cannot be read raises Malformed, in words; nothing of a bundle is believed before its signature was checked.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from plumbline_api.artifact import File
from plumbline_api.model import canonical_json
from plumbline_api.names import GROUP

__all__ = [
    "ARTIFACT", "CHECKPOINT", "Envelope", "Malformed", "Signed", "read_statement", "signed_bytes", "write_statement",
]  # fmt: skip

ARTIFACT: Final = "https://model_signing/signature/v1.0"
"""The type of a statement about a model, an adapter or a data set."""
CHECKPOINT: Final = f"https://{GROUP}/checkpoint/v1"
"""The type of a statement about unfinished work, so that a signed checkpoint never passes for a signed model."""
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_SERIALIZATION: Final = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}


class Malformed(Exception):
    """These bytes are no signature of this format; says why."""


@dataclass(frozen=True)
class Signed:
    """What a statement says."""

    type: str
    name: str
    files: frozenset[tuple[str, str]]
    """Paths with their sha256 (hex)."""

    def difference(self, files: Sequence[File]) -> str:
        """How what is there differs from what was signed; empty where it does not."""
        there = {(file.path, file.sha256) for file in files}
        if there == self.files:
            return ""
        wanted, have = dict(self.files), dict(there)
        path = min(path for path, _ in there ^ self.files)
        if path not in have:
            return f"the file {path} that was signed is missing"
        return f"the file {path} was {'altered' if path in wanted else 'added'} after signing"


@dataclass(frozen=True)
class Envelope:
    """A statement as bytes, its signature, and by which key that is."""

    payload: bytes
    signature: bytes
    key: str
    """The hint of the bundle: the sha256 (hex) of the public key's PEM text."""

    def write(self) -> bytes:
        """As a Sigstore bundle."""
        return canonical_json(
            {
                "mediaType": _BUNDLE,
                "verificationMaterial": {"publicKey": {"hint": self.key}, "tlogEntries": []},
                "dsseEnvelope": {
                    "payload": base64.b64encode(self.payload).decode(),
                    "payloadType": _PAYLOAD,
                    "signatures": [{"sig": base64.b64encode(self.signature).decode(), "keyid": ""}],
                },
            }
        )

    @classmethod
    def read(cls, data: bytes) -> Self:
        """From a Sigstore bundle; raises Malformed."""
        try:
            bundle = json.loads(data)
            kind, envelope = bundle["mediaType"], bundle["dsseEnvelope"]
            (signature,) = envelope["signatures"]
            found = cls(
                payload=base64.b64decode(envelope["payload"], validate=True),
                signature=base64.b64decode(signature["sig"], validate=True),
                key=str(bundle["verificationMaterial"]["publicKey"]["hint"]),
            )
        except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
            raise Malformed("it is no Sigstore bundle with one signature by a key") from error
        if (kind, envelope.get("payloadType")) != (_BUNDLE, _PAYLOAD):
            raise Malformed("it is a Sigstore bundle of another version, or of something else than a statement")
        return found


def signed_bytes(payload: bytes) -> bytes:
    """What a signature is made over (DSSE v1)."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def write_statement(kind: str, name: str, files: Sequence[File]) -> bytes:
    """The statement that an artifact, or a checkpoint, consists of these files."""
    ordered = sorted(files, key=lambda file: file.path)
    resources = [{"name": file.path, "algorithm": "sha256", "digest": file.sha256} for file in ordered]
    return canonical_json(
        {
            "_type": _STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": _root(file.sha256 for file in ordered)}}],
            "predicateType": kind,
            "predicate": {"serialization": _SERIALIZATION, "resources": resources},
        }
    )


def read_statement(payload: bytes) -> Signed:
    """What a statement says; raises Malformed."""
    try:
        statement: Any = json.loads(payload)
        (subject,) = statement["subject"]
        kind, name, root = statement["predicateType"], subject["name"], subject["digest"]["sha256"]
        method = statement["predicate"]["serialization"]["method"]
        resources = [(one["name"], one["digest"], one["algorithm"]) for one in statement["predicate"]["resources"]]
        found = Signed(str(kind), str(name), frozenset((str(path), str(sha256)) for path, sha256, _ in resources))
        whole = root == _root(str(sha256) for _, sha256, _ in resources)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed("what is signed is no statement about a model") from error
    if statement.get("_type") != _STATEMENT or method != "files" or {one for _, _, one in resources} - {"sha256"}:
        raise Malformed("what is signed is not a list of whole files with their sha256")
    if not whole or len({path for path, _, _ in resources}) != len(resources):
        raise Malformed("the list of files that is signed contradicts itself")
    return found


def _root(digests: Iterable[str]) -> str:
    """The sha256 over all files' sha256, in their order."""
    return hashlib.sha256(b"".join(bytes.fromhex(sha256) for sha256 in digests)).hexdigest()
