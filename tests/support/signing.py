"""Keys for tests, made as people make them with openssl."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from plumbline_store.signing import SigningKey

__all__ = ["Pair", "make_pair", "other_keys"]

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Pair:
    """A private key and its public part, in memory and as files."""

    def __init__(self, folder: Path, name: str, key: Private, password: bytes = b"") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lock = BestAvailableEncryption(password) if password else NoEncryption()
        self.key_file, self.public_file = folder / f"{name}.key", folder / f"{name}.pub"
        self.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        self.public_file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    @property
    def public(self) -> str:
        """The text of the public key's file."""
        return self.public_file.read_text()

    @property
    def key(self) -> SigningKey:
        """The private key, read as the programs read it."""
        return SigningKey.read(self.key_file)


def make_pair(folder: Path, name: str = "signing", password: bytes = b"") -> Pair:
    """A new key of the kind that artifacts are signed with."""
    return Pair(folder, name, ec.generate_private_key(ec.SECP256R1()), password)


def other_keys(folder: Path) -> dict[str, Pair]:
    """Keys of the kinds that they are not signed with."""
    return {
        "P-384": Pair(folder, "p384", ec.generate_private_key(ec.SECP384R1())),
        "Ed25519": Pair(folder, "ed25519", ed25519.Ed25519PrivateKey.generate()),
    }
