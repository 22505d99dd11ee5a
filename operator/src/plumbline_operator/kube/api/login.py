"""How the operator proves who it is: kopf's login functions, asked again before a rotated token or certificate expires.

Used by the client. The in-cluster token comes first, then the file that KUBECONFIG names.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import kopf
import yaml

__all__ = ["Access", "Login", "LoginFailed", "find_credentials"]

_PERIOD: Final = 60.0
"""Seconds between two looks; the kubelet renews a token when a fifth of its hour or more is left."""
_PAUSE: Final = 1.0
"""Seconds between two looks where calls are refused; there may be dozens of them at a time."""


_UNREADABLE: Final = (
    kopf.LoginError, OSError, KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError,
)  # fmt: skip
"""What kopf's functions end with on files that are no kubeconfig; they check nothing themselves."""


class LoginFailed(Exception):
    """There are no credentials, or they cannot be read."""


@dataclass(frozen=True)
class Access:
    """What a connection needs."""

    server: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    proxy: str | None = None
    namespace: str = "default"


def find_credentials() -> kopf.ConnectionInfo | None:
    """The service account of this pod, or what KUBECONFIG names; None where there is neither."""
    settings = kopf.OperatorSettings()
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


class Login:
    """Credentials that stay fresh."""

    def __init__(
        self, clock: Callable[[], float], find: Callable[[], kopf.ConnectionInfo | None] = find_credentials
    ) -> None:
        self._clock = clock
        self._find = find
        self._info: kopf.ConnectionInfo | None = None
        self._access: Access | None = None
        self._looked = 0.0
        self._suspected = False

    def suspect(self) -> None:
        """Read everything again before the next call: the server, or its certificate, was refused."""
        self._suspected = True

    def access(self) -> Access:
        """What to connect with; the same object as long as nothing has changed.

        Raises:
            LoginFailed: with the remedy.
        """
        patience = _PAUSE if self._suspected else _PERIOD
        if self._access is None or self._clock() - self._looked > patience:
            self._access = self._renew(self._access, self._info)
        return self._access

    def _renew(self, access: Access | None, before: kopf.ConnectionInfo | None) -> Access:
        # Certificates may change behind the same paths, which only a refusal shows.
        wholly, self._suspected, self._looked = self._suspected, False, self._clock()
        self._info = info = self._read()
        if access is None or before is None or wholly or _without_token(before) != _without_token(info):
            return _make_access(info)
        return access if before == info else replace(access, headers=info.as_http_headers())

    def _read(self) -> kopf.ConnectionInfo:
        try:
            found = self._find()
        except _UNREADABLE as error:
            raise LoginFailed(f"credentials for the API server cannot be read ({error}); check KUBECONFIG") from error
        if found is None:
            raise LoginFailed("no credentials for the API server; run in a pod, or set KUBECONFIG to a file")
        if found.server.startswith("https:") and not _identifies(found):
            fact = f"KUBECONFIG names neither a token nor a certificate for {found.server}"
            raise LoginFailed(f"{fact}; write one into that file: programs that would fetch it (exec) are not run")
        return found


def _identifies(info: kopf.ConnectionInfo) -> bool:
    return bool(info.token or info.username or info.certificate_path or info.certificate_data)


def _without_token(info: kopf.ConnectionInfo) -> kopf.ConnectionInfo:
    return replace(info, token=None)


def _make_access(info: kopf.ConnectionInfo) -> Access:
    try:
        tls = info.as_ssl_context() if info.server.startswith("https:") else None
    except (ssl.SSLError, OSError, ValueError) as error:
        raise LoginFailed(f"the certificates for {info.server} cannot be used: {error}") from error
    return Access(
        server=info.server.rstrip("/"),
        headers=info.as_http_headers(),
        tls=tls,
        proxy=info.proxy_url,
        namespace=info.default_namespace or "default",
    )
