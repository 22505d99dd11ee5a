"""A registry as it is pushed to (the distribution specification of OCI, 1.1): ask, mount, upload, name.

Whatever passes by itself, such as a broken connection or a busy registry, is tried again; the rest is told in words.
What is uploaded has been verified before, and the registry computes each digest again and refuses another.
"""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
from yarl import URL

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.accounts import PASSWORD, USER, Account
from plumbline_operator.bundle.errors import BundleError
from plumbline_operator.bundle.layout import Part
from plumbline_operator.bundle.target import Target, is_loopback

__all__ = ["Pauses", "Registry"]

_MANIFESTS: Final = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_BYTES: Final = "application/octet-stream"
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_TIMES: Final = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=300)
"""Seconds; a registry may take minutes to look at the last byte of gigabytes."""
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Pauses:
    """Seconds to wait before trying once more, each time."""

    seconds: Sequence[float] = (1.0, 3.0, 10.0)


class _Passing(Exception):
    """Something that may be gone the next time."""


@dataclass(frozen=True)
class _Answer:
    """What a registry said."""

    status: int
    headers: Mapping[str, str]
    words: str
    url: str


class Registry:
    """A context: connections are kept while it is open."""

    def __init__(
        self,
        target: Target,
        account: Account | None,
        trust: ssl.SSLContext,
        repositories: Sequence[str],
        pauses: Pauses = Pauses(),
    ) -> None:
        """Nothing is sent yet; `repositories` are those that a token is asked for."""
        self._target, self._account, self._trust, self._pauses = target, account, trust, pauses
        self._scopes = [("scope", f"repository:{name}:pull,push") for name in repositories]
        self._authorization = ""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=4)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMES, trust_env=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def has(self, repository: str, part: Part, reference: str = "") -> bool:
        """Whether a blob is there, or a manifest: this one, and under a tag if one is given."""
        kind = "manifests" if part.is_manifest else "blobs"
        path = f"/v2/{repository}/{kind}/{reference or part.digest}"
        answer = await self._again(lambda: self._call("HEAD", path, {"Accept": _MANIFESTS}, good=(200, 404)))
        named = answer.headers.get("Docker-Content-Digest", part.digest)
        return answer.status == 200 and named == part.digest

    async def mount(self, repository: str, part: Part, source: str) -> bool:
        """Take a blob over from another repository of the same registry; whether that worked."""
        query = urlencode({"mount": part.digest, "from": source})
        path = f"/v2/{repository}/blobs/uploads/?{query}"
        answer = await self._again(lambda: self._call("POST", path, {}, good=(201, 202)))
        return answer.status == 201

    async def upload(self, repository: str, part: Part, file: Path, sent: Callable[[int], None]) -> None:
        """Send a blob; `sent` is told of the bytes, and of fewer than none where they have to go once more."""

        async def once() -> None:
            counted = 0

            async def content() -> AsyncIterator[bytes]:
                nonlocal counted
                with file.open("rb") as opened:
                    while chunk := opened.read(1 << 20):
                        yield chunk
                        counted += len(chunk)
                        sent(len(chunk))

            try:
                begun = await self._call("POST", f"/v2/{repository}/blobs/uploads/", {}, good=(202,))
                headers = {
                    "Content-Type": _BYTES,
                    "Content-Length": str(part.size),
                    "Content-Range": f"0-{max(part.size - 1, 0)}",
                }
                written = await self._call("PATCH", self._location(begun), headers, content(), good=(202, 204))
                address = self._location(written)
                address += ("&" if "?" in address else "?") + urlencode({"digest": part.digest})
                await self._call("PUT", address, {"Content-Length": "0", "Content-Type": _BYTES}, good=(201, 204))
            except _Passing:
                sent(-counted)
                raise

        await self._again(once)

    async def put_manifest(self, repository: str, part: Part, content: bytes, reference: str) -> None:
        """Write a manifest or an index, under its digest or a tag; byte for byte, or the digest would be another."""
        path, headers = f"/v2/{repository}/manifests/{reference}", {"Content-Type": part.media_type}
        await self._again(lambda: self._call("PUT", path, headers, content, good=(201, 202)))

    async def _again(self, act: Callable[[], Awaitable[_Made]]) -> _Made:
        for pause in self._pauses.seconds:
            try:
                return await act()
            except _Passing:
                await asyncio.sleep(pause)
        try:
            return await act()
        except _Passing as error:
            remedy = "run the same command again; what has arrived is not sent twice"
            raise self._error(
                f"{error}, {len(self._pauses.seconds) + 1} times", remedy, ExitCode.UNAVAILABLE
            ) from error

    async def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: bytes | AsyncIterator[bytes] | None = None,
        *,
        good: Sequence[int],
    ) -> _Answer:
        """One request, and a second one where the registry wants to know who we are."""
        url = urljoin(self._target.address, path)
        answer = await self._send(method, url, headers, data)
        if answer.status == 401 and await self._introduce(answer):
            if isinstance(data, AsyncIterator):
                # It is used up; by now the next attempt is introduced.
                raise _Passing("asks for an account in the middle of an upload")
            answer = await self._send(method, url, headers, data)
        if answer.status in good:
            return answer
        raise self._refusal(answer)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | AsyncIterator[bytes] | None
    ) -> _Answer:
        sent = dict(headers)
        if self._authorization and urlsplit(url).netloc == self._target.host:
            sent.setdefault("Authorization", self._authorization)
        try:
            # As it is: addresses of uploads may be signed.
            exact = URL(url, encoded=True)
            async with self._session.request(method, exact, headers=sent, data=data, allow_redirects=False) as response:
                words = _words(await response.read())
                return _Answer(response.status, response.headers.copy(), words, str(response.url))
        except aiohttp.ClientConnectorCertificateError as error:
            fact = f"its certificate is not accepted: {error.certificate_error}"
            remedy = "name the authority that it is from with --ca FILE"
            raise self._error(fact, remedy, ExitCode.BAD_CONFIG) from error
        except aiohttp.ClientConnectorSSLError as error:
            raise self._error("does not speak TLS", "give it a certificate", ExitCode.BAD_CONFIG) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _Passing(f"cannot be reached: {error or type(error).__name__}") from error

    async def _introduce(self, answer: _Answer) -> bool:
        """Answer a challenge; whether there is something to say that has not been said."""
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        before = self._authorization
        if scheme.lower() == "basic" and self._account is not None:
            self._authorization = aiohttp.encode_basic_auth(self._account.user, self._account.password)
            return self._authorization != before
        if scheme.lower() == "bearer":
            challenge = dict(_CHALLENGE.findall(rest))
            self._authorization = f"Bearer {await self._token(challenge)}"
            return self._authorization != before
        return False

    async def _token(self, challenge: Mapping[str, str]) -> str:
        """A token for all repositories, from the service that the registry names."""
        realm = urlsplit(challenge.get("realm", ""))
        if realm.scheme != "https" and not (realm.scheme == "http" and is_loopback(realm.hostname or "")):
            fact = f"sends us for a token to {challenge.get('realm')!r}, which is no HTTPS"
            raise self._error(fact, "mend the registry's settings", ExitCode.BAD_CONFIG)
        query = urlencode([("service", challenge.get("service", "")), *self._scopes])
        who = {} if self._account is None else {
            "Authorization": aiohttp.encode_basic_auth(self._account.user, self._account.password)
        }  # fmt: skip
        answer = await self._send("GET", f"{realm.geturl()}{'&' if realm.query else '?'}{query}", who, None)
        if answer.status != 200:
            raise self._refusal(answer)
        return _token_of(answer.words)

    def _location(self, answer: _Answer) -> str:
        """Where an upload goes on."""
        address = urlsplit(urljoin(answer.url, answer.headers.get("Location", "")))
        if address.scheme == "http" and not self._target.plain:
            fact = "wants uploads over HTTP: it does not know that it is behind HTTPS"
            raise self._error(fact, "mend its settings (http.host, X-Forwarded-Proto)", ExitCode.BAD_CONFIG)
        return address.geturl()

    def _refusal(self, answer: _Answer) -> Exception:
        said = f"{answer.status} {answer.words}".strip()
        if answer.status in _PASSING:
            return _Passing(f"answers {said}")
        if answer.status == 401:
            if self._account is None:
                remedy = f"log in with docker, podman or skopeo, or set {USER} and {PASSWORD} and use --user-from-env"
                return self._error(f"wants an account ({said})", remedy, ExitCode.NOT_PERMITTED)
            fact = f"does not take the account {self._account.user} ({said})"
            return self._error(fact, "check user and password", ExitCode.NOT_PERMITTED)
        if answer.status == 403:
            who = "nobody in particular" if self._account is None else self._account.user
            return self._error(f"does not let {who} write ({said})", "get the right to push", ExitCode.NOT_PERMITTED)
        if answer.status == 404:
            fact = f"does not know {urlsplit(answer.url).path} ({said})"
            remedy = "check host and path; some registries need a project to be made first"
            return self._error(fact, remedy, ExitCode.BAD_SPEC)
        if answer.status == 413:
            return self._error(
                f"takes no files that large ({said})", "raise the limit of its proxy", ExitCode.UNAVAILABLE
            )
        return self._error(f"answers {said}", "look into its log", ExitCode.UNAVAILABLE)

    def _error(self, fact: str, remedy: str, code: int) -> BundleError:
        return BundleError(self._target.address, fact, remedy, exit_code=code)


def _token_of(words: str) -> str:
    try:
        told: Any = json.loads(words)
        return str(told.get("token") or told["access_token"])
    except (ValueError, KeyError, AttributeError):
        return ""


def _words(body: bytes) -> str:
    """What a registry says: its own errors, or else the beginning of the text."""
    text = body.decode("utf-8", errors="replace")
    try:
        errors = json.loads(text)["errors"]
        return "; ".join(f"{each['code']}: {each.get('message', '')}".strip(": ") for each in errors)
    except (ValueError, KeyError, TypeError):
        return text if text.startswith("{") else " ".join(text.split())[:200]
