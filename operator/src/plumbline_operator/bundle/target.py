"""Which registry is meant: `registry.internal:5000/team`, over HTTPS wherever it is not on this machine."""

import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError

__all__ = ["Target", "is_loopback", "parse_target", "trust_of"]

_TARGET: Final = re.compile(r"(?:(https?)://)?([A-Za-z0-9.-]+(?::[0-9]+)?)((?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)/?")


@dataclass(frozen=True)
class Target:
    """A registry, and where in it."""

    host: str
    """With its port."""
    path: str
    """What stands before the name of a repository, with a slash at the end; often empty."""
    plain: bool
    """HTTP; on this machine alone."""

    @property
    def address(self) -> str:
        """Of the registry."""
        return f"{'http' if self.plain else 'https'}://{self.host}"

    @property
    def registry(self) -> str:
        """The value of `global.imageRegistry`."""
        return f"{self.host}/{self.path}".rstrip("/")

    def repository(self, name: str) -> str:
        """The whole name of a repository."""
        return f"{self.path}{name}"


def parse_target(text: str) -> Target:
    """What REGISTRY means.

    Raises:
        BundleError: It is no registry, or would be spoken to in clear.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        remedy = "write HOST, HOST:PORT or HOST:PORT/PATH, as in registry.internal:5000/team"
        raise BundleError(repr(text), "is no registry", remedy, exit_code=ExitCode.BAD_SPEC)
    scheme, host, path = found.groups()
    if scheme == "http" and not is_loopback(host.partition(":")[0]):
        fact = "would get images and password over HTTP, where everybody can read and change them"
        raise BundleError(text, fact, "give the registry a certificate, and use HTTPS", exit_code=ExitCode.BAD_SPEC)
    return Target(host, f"{path[1:]}/" if path else "", scheme == "http")


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trust_of(authority: Path | None) -> ssl.SSLContext:
    """Whose certificates are accepted: those of one authority, or those that this machine trusts.

    Raises:
        BundleError: The file holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=None if authority is None else str(authority))
    except OSError as error:
        fact = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        remedy = "name the PEM file of the authority that the registry's certificate is from"
        raise BundleError(authority, str(fact), remedy, exit_code=ExitCode.BAD_SPEC) from error
