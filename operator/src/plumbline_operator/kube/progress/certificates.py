"""The certificate of the status endpoint: of an authority of the operator's own, kept in a Secret, or a user's own.

Called by `progress`. All replicas share the authority; each issues its certificate of it in memory, anew every day.
"""

import asyncio
import base64
import binascii
import logging
import ssl
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from plumbline_api.names import AUTHORITY_FILE, FIELD_MANAGER, LABEL_MANAGED_BY
from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.errors import AlreadyExists, ApiError, NotFound
from plumbline_operator.kube.api.resources import SECRETS

__all__ = ["CertificateFolder", "CertificateUnusable", "Certificates", "OwnAuthority", "Source"]

_LOG: Final = logging.getLogger(__name__)
_CERTIFICATE, _KEY = "tls.crt", "tls.key"
_DAY: Final = 86_400.0
_MINUTE: Final = 60.0
_PATIENCE: Final = 60.0
"""Seconds for the program that issues; it needs a quarter of one on a machine that is not busy."""


class CertificateUnusable(Exception):
    """There is a certificate or an authority, and it cannot be used; the message has the remedy and no key."""


@dataclass(frozen=True)
class Served:
    """A certificate with its key, and what proves it (PEM)."""

    certificate: str
    key: str
    authority: str


class Source(Protocol):
    """Where certificates come from."""

    period: float
    """Seconds after which to ask again."""

    async def fetch(self) -> Served:
        """The certificate to show now. Raises CertificateUnusable, ApiError."""


class OwnAuthority:
    """An authority in a Secret; whichever replica finds none makes it."""

    period = _DAY

    def __init__(self, client: KubeClient, namespace: str, name: str, hosts: Sequence[str]) -> None:
        """Prepare.

        Args:
            client: The API server.
            namespace: Of the Secret.
            name: Of the Secret.
            hosts: Names or addresses of the server.
        """
        self._client = client
        self._namespace, self._name = namespace, name
        self._hosts = list(hosts)

    async def fetch(self) -> Served:
        """A new certificate of the authority."""
        secret = await self._find() or await self._make()
        authority = self._read(secret)
        made = await self._issue(authority)
        return Served(made["certificate"]["certificate"], made["certificate"]["key"], authority["certificate"])

    async def _find(self) -> Mapping[str, Any] | None:
        try:
            return await self._client.get(SECRETS, self._namespace, self._name)
        except NotFound:
            return None

    async def _make(self) -> Mapping[str, Any]:
        authority = (await self._issue(None))["authority"]
        body = {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "type": "kubernetes.io/tls",
            "metadata": {"name": self._name, "labels": {LABEL_MANAGED_BY: FIELD_MANAGER}},
            "stringData": {_CERTIFICATE: authority["certificate"], _KEY: authority["key"]},
        }
        try:
            made = await self._client.create(SECRETS, self._namespace, body)
        except AlreadyExists:
            # Another replica was quicker, and its authority is the one.
            return await self._client.get(SECRETS, self._namespace, self._name)
        _LOG.info("authority made", extra={"secret": f"{self._namespace}/{self._name}"})
        return made

    def _read(self, secret: Mapping[str, Any]) -> Mapping[str, str]:
        data = secret.get("data") or {}
        try:
            found = {name: base64.b64decode(data[key], validate=True).decode("ascii") for name, key in _FIELDS}
        except (KeyError, UnicodeDecodeError, binascii.Error) as error:
            raise self._unusable(f"{_CERTIFICATE} or {_KEY} is missing or broken") from error
        return found

    async def _issue(self, authority: Mapping[str, str] | None) -> Mapping[str, Any]:
        orders = {"authority": authority, "hosts": self._hosts}
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-P", "-m", "plumbline_operator.kube.progress.issuing")
        child = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                said, _ = await child.communicate(orjson.dumps(orders))
        except TimeoutError as error:
            child.kill()
            await child.wait()
            raise CertificateUnusable("no certificate was issued in time; start again") from error
        if child.returncode != 0:
            raise CertificateUnusable(f"the program that issues certificates ended with {child.returncode}")
        made: Mapping[str, Any] = orjson.loads(said)
        if "problem" in made:
            raise self._unusable(str(made["problem"]))
        return made

    def _unusable(self, fact: str) -> CertificateUnusable:
        place = f"Secret {self._name} in namespace {self._namespace}"
        return CertificateUnusable(f"{place} holds no authority that can be used ({fact}); delete it and start again")


_FIELDS: Final = (("certificate", _CERTIFICATE), ("key", _KEY))


class CertificateFolder:
    """Files that somebody else renews, cert-manager for example, mounted from a Secret."""

    period = _MINUTE

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fetch(self) -> Served:
        """What the files hold now."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Served:
        texts = []
        for name in (_CERTIFICATE, _KEY, AUTHORITY_FILE):
            try:
                texts.append((self._folder / name).read_text(encoding="ascii"))
            except (OSError, UnicodeDecodeError) as error:
                raise CertificateUnusable(
                    f"{self._folder / name} cannot be read; the Secret with the certificate needs this key"
                ) from error
        return Served(*texts)


class Certificates:
    """What the server shows, always a certificate that holds."""

    def __init__(self, source: Source) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._source = source
        self._served: Served | None = None

    @property
    def authority(self) -> str:
        """The certificates (PEM) that prove what is shown; empty before there is one."""
        return "" if self._served is None else self._served.authority

    async def renew(self) -> None:
        """Show the newest from now on.

        Raises:
            CertificateUnusable: There is none that can be used; what was shown before is shown on.
            ApiError: The API server did not answer, or refused.
        """
        found = await self._source.fetch()
        if found == self._served:
            return
        # First into one that nobody uses: what is broken must not get in the place of what works.
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), found)
        _load(self.context, found)
        self._served = found

    async def run(self) -> None:
        """Renew for ever."""
        while True:
            await asyncio.sleep(self._source.period)
            try:
                await self.renew()
            except CertificateUnusable as error:
                _LOG.warning("certificate not renewed", extra={"problem": str(error)})
            except ApiError as error:
                _LOG.warning("certificate not renewed", extra={"call": str(error.call), "code": error.code})


def _load(context: ssl.SSLContext, served: Served) -> None:
    """Let a context show a certificate; the library reads files alone."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, _CERTIFICATE), Path(folder, _KEY)
        certificate.write_text(served.certificate, encoding="ascii")
        key.touch(mode=0o600)
        key.write_text(served.key, encoding="ascii")
        try:
            context.load_cert_chain(certificate, key)
            ssl.create_default_context(cadata=served.authority)
        except (ssl.SSLError, ValueError) as error:
            fact = "certificate, key and authority do not belong together or are broken"
            raise CertificateUnusable(f"{fact}; correct {_CERTIFICATE}, {_KEY} and {AUTHORITY_FILE}") from error
