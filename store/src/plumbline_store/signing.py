"""Keys that sign artifacts, and keys whose signatures are trusted: EC P-256 as PEM text, no passwords, no network.

Imported where there is a key, and only there: cryptography takes a while to import. The format is that of OpenSSF model
signing, so its command verifies what is signed here, and what it signs is verified here.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from plumbline_api.artifact import File
from plumbline_store.errors import KeyUnusable
from plumbline_store.statement import (
    Envelope,
    Malformed,
    read_statement,
    signed_bytes,
    write_statement,
)

__all__ = ["SigningKey", "Trust"]

_MAKE: Final = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing.key"
_DERIVE: Final = "openssl pkey -in signing.key -pubout -out signing.pub"
_END: Final = "-----END PUBLIC KEY-----"
_LARGEST: Final = 64 * 1024
"""Bytes of a file with keys; one key takes 200."""


class SigningKey:
    """A private key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.name = _name(key.public_key())
        """By which its signatures are found: the sha256 (hex) of its public part's PEM text."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The key in a file; raises KeyUnusable."""
        try:
            key = load_pem_private_key(_read(path), password=None)
        except TypeError as error:
            remedy = "take the password off: openssl pkey -in LOCKED -out signing.key"
            raise KeyUnusable(path, "this key is locked with a password", remedy) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnusable(path, "this is no private key in PEM form", f"make one: {_MAKE}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyUnusable(path, "this private key is not EC on the curve P-256", f"make such a key: {_MAKE}")
        return cls(key)

    @property
    def trust(self) -> "Trust":
        """Trust in this key alone."""
        return Trust([self._key.public_key()])

    def sign(self, kind: str, name: str, files: Sequence[File]) -> bytes:
        """A bundle that says of these files what they are; the same for the same key and files."""
        payload = write_statement(kind, name, files)
        how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        return Envelope(payload, self._key.sign(signed_bytes(payload), how), self.name).write()


class Trust:
    """The public keys, one at least, whose signatures count."""

    def __init__(self, keys: Sequence[ec.EllipticCurvePublicKey]) -> None:
        if not keys:
            raise ValueError("no key can be trusted where there is none")
        self._keys = {_name(key): key for key in keys}

    @classmethod
    def parse(cls, text: str, place: Path | str) -> Self:
        """The keys in a text, one PEM block after the other.

        Raises:
            KeyUnusable: There is none, or something else beside them: whoever configured trust wants it kept.
        """
        return cls(_parse(text, place))

    @classmethod
    def read(cls, paths: Sequence[Path]) -> Self:
        """The keys in files, one at least; raises KeyUnusable."""
        return cls([key for path in paths for key in _parse(_read(path).decode(errors="replace"), path)])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys, as SigningKey has them."""
        return tuple(sorted(self._keys))

    @property
    def text(self) -> str:
        """The keys as `parse` reads them; the same for the same keys."""
        return "".join(_pem(self._keys[name]).decode() for name in self.names)

    def examine(self, kind: str, files: Sequence[File], find: Callable[[str], bytes | None], name: str = "") -> str:
        """Why none of the trusted keys vouches for exactly these files; empty where one does.

        Args:
            kind: What must be signed: ARTIFACT or CHECKPOINT.
            files: The files.
            find: The bundle of a key, by its name; None where there is none.
            name: What the statement must be about; empty where the files say it all.
        """
        facts: list[str] = []
        for key in self.names:
            bundle = find(key)
            if bundle is None:
                continue
            fact = self._fault(key, bundle, kind, files, name)
            if not fact:
                return ""
            facts.append(f"the signature by key {_short(key)} does not count: {fact}")
        if facts:
            return "; ".join(facts)
        return f"it is not signed by any trusted key ({', '.join(_short(key) for key in self.names)})"

    def _fault(self, key: str, bundle: bytes, kind: str, files: Sequence[File], name: str) -> str:
        """What is wrong with the signature of a key; empty where nothing is."""
        try:
            envelope = Envelope.read(bundle)
            self._keys[key].verify(envelope.signature, signed_bytes(envelope.payload), ec.ECDSA(hashes.SHA256()))
            found = read_statement(envelope.payload)
        except Malformed as error:
            return str(error)
        except InvalidSignature:
            return "it is by another key, or what it is over was altered"
        if found.type != kind or (name and found.name != name):
            return "it is over something else"
        return found.difference(files)


def _short(key: str) -> str:
    """A key's name for people."""
    return f"sha256:{key[:12]}"


def _parse(text: str, place: Path | str) -> list[ec.EllipticCurvePublicKey]:
    """The keys in a text; one at least."""
    if "PRIVATE KEY" in text:
        raise KeyUnusable(
            place, "there is a private key", f"keep it away from here, and give its public part: {_DERIVE}"
        )
    *blocks, rest = text.split(_END)
    if rest.strip() or not blocks:
        fact = "there is more than public keys in PEM form" if blocks else "there is no public key in PEM form"
        raise KeyUnusable(place, fact, f"give the public part of the signing key: {_DERIVE}")
    return [_public(f"{block.strip()}\n{_END}\n", place) for block in blocks]


def _public(block: str, place: Path | str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(place, "this is no public key in PEM form", f"derive it: {_DERIVE}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyUnusable(place, "this public key is not EC on the curve P-256", f"make such a key: {_MAKE}")
    return key


def _name(key: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(_pem(key)).hexdigest()


def _pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as source:
            return source.read(_LARGEST)
    except OSError as error:
        raise KeyUnusable(path, f"this key cannot be read ({error.strerror})", "check path and mode") from error
