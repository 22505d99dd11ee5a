"""The signature of a bundle's list of files: by an offline key, Ed25519 or ECDSA on P-256, both PEM files.

Signatures are the bytes that openssl writes and reads, so a list can be signed where nothing of ours is.
"""

import hashlib
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError

__all__ = ["PrivateKey", "PublicKey", "fingerprint", "is_signed", "read_private_key", "read_public_key", "sign"]

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

_MAKE: Final = "openssl genpkey -algorithm ed25519 -out bundle.key"
_DERIVE: Final = "openssl pkey -in bundle.key -pubout -out bundle.pub"


def read_private_key(path: Path) -> PrivateKey:
    """The key that a bundle is signed with.

    Raises:
        BundleError: There is none of a kind that we take.
    """
    try:
        key = load_pem_private_key(_read(path), password=None)
    except TypeError as error:
        remedy = f"sign {path.parent} with openssl instead, as docs/airgap.md shows"
        raise BundleError(path, "is locked with a password", remedy, exit_code=ExitCode.BAD_SPEC) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(path, "is no private key", f"make one: {_MAKE}", exit_code=ExitCode.BAD_SPEC) from error
    if isinstance(key, ed25519.Ed25519PrivateKey) or (isinstance(key, ec.EllipticCurvePrivateKey) and _p256(key)):
        return key
    raise _other_kind(path)


def read_public_key(path: Path) -> PublicKey:
    """The key that a signature is checked with.

    Raises:
        BundleError: There is none of a kind that we take.
    """
    content = _read(path)
    if b"PRIVATE KEY" in content:
        remedy = f"keep it away from here, and name its public part: {_DERIVE}"
        raise BundleError(path, "is a private key", remedy, exit_code=ExitCode.BAD_SPEC)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(path, "is no public key", f"make it: {_DERIVE}", exit_code=ExitCode.BAD_SPEC) from error
    if isinstance(key, ed25519.Ed25519PublicKey) or (isinstance(key, ec.EllipticCurvePublicKey) and _p256(key)):
        return key
    raise _other_kind(path)


def sign(key: PrivateKey, content: bytes) -> bytes:
    """The signature; the same for the same key and content."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(content)
    return key.sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def is_signed(key: PublicKey, content: bytes, signature: bytes) -> bool:
    """Whether the holder of the key signed this."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
        else:
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def fingerprint(key: PublicKey) -> str:
    """By which people tell keys apart: the SHA-256 of `openssl pkey -pubin -outform der`."""
    return f"sha256:{hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()}"


def _p256(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bool:
    return isinstance(key.curve, ec.SECP256R1)


def _other_kind(path: Path) -> BundleError:
    fact = "is neither Ed25519 nor ECDSA on P-256"
    return BundleError(path, fact, f"make such a key: {_MAKE}", exit_code=ExitCode.BAD_SPEC)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(path, str(error.strerror), "name a key file", exit_code=ExitCode.BAD_SPEC) from error
