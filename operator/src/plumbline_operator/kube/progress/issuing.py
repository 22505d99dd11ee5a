"""Makes an authority and certificates of it; orders and answer are JSON.

A program of its own (`python -m plumbline_operator.kube.progress.issuing`), run by `certificates`: the library that it
needs would hold 10 MB in the operator for as long as that lives, for a few milliseconds of work a day. Keys go through
pipes and never into a file.
"""

import ipaddress
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["answer", "issue", "make_authority"]

_EARLIER: Final = timedelta(days=1)
"""Certificates begin before they are made: clocks of nodes differ."""
_AUTHORITY_LIVES: Final = timedelta(days=3650)
_CERTIFICATE_LIVES: Final = timedelta(days=30)
_SPARE: Final = timedelta(days=60)
"""An authority is not used for longer than its certificates may still be in use."""

Pair = Mapping[str, str]
Key = ec.EllipticCurvePrivateKey


def make_authority(now: datetime) -> Pair:
    """A new authority: `certificate` and `key`, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plumbline progress")])
    builder = _builder(name, name, key, key, now, _AUTHORITY_LIVES).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return _pair(builder.add_extension(_usage(signs=True), critical=True), key, key)


def issue(authority: Pair, hosts: Sequence[str], now: datetime) -> Pair:
    """A certificate of the authority for a server with these names or addresses.

    Raises:
        ValueError: The authority is none, or its time is over.
    """
    signer, by = _read(authority, now)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plumbline operator")])
    builder = (
        _builder(subject, by.subject, key, signer, now, _CERTIFICATE_LIVES)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
    )
    return _pair(builder, key, signer)


def answer(orders: Mapping[str, Any]) -> Mapping[str, Any]:
    """The authority, a new one where the orders hold none, and a certificate of it; or what is wrong."""
    now = datetime.now(UTC)
    authority = orders.get("authority") or make_authority(now)
    try:
        return {"authority": authority, "certificate": issue(authority, orders["hosts"], now)}
    except (ValueError, TypeError) as error:
        # What the library says may quote what it read.
        return {"problem": str(error) if type(error) is ValueError and str(error) in _FACTS else "it cannot be read"}


_OVER: Final = "its time is over"
_NO_PAIR: Final = "key and certificate do not belong together"
_FACTS: Final = (_OVER, _NO_PAIR)


def _read(authority: Pair, now: datetime) -> tuple[Key, x509.Certificate]:
    certificate = x509.load_pem_x509_certificate(authority["certificate"].encode())
    key = load_pem_private_key(authority["key"].encode(), None)
    plain = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(_NO_PAIR)
    if key.public_key().public_bytes(*plain) != certificate.public_key().public_bytes(*plain):
        raise ValueError(_NO_PAIR)
    if certificate.not_valid_after_utc < now + _SPARE:
        raise ValueError(_OVER)
    return key, certificate


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    signer: Key,
    now: datetime,
    lives: timedelta,
) -> x509.CertificateBuilder:
    public, signers = key.public_key(), signer.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + lives)
        # Both are asked for by the strict checks of newer Pythons.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signers), critical=False)
    )


def _pair(builder: x509.CertificateBuilder, key: Key, signer: Key) -> Pair:
    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {"certificate": certificate.decode(), "key": secret.decode()}


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
