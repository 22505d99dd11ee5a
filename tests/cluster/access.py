"""Kubeconfigs, and the few calls that starting a control plane and making tokens need, without an event loop."""

import base64
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.pki import Authority, Pair

__all__ = ["Caller", "by_certificate", "tls_context", "write_kubeconfig"]


class Caller:
    """Makes single calls to an API server as one user; each opens a connection of its own."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port, self._context = port, context

    def call(self, method: str, path: str, body: object = None, seconds: float = 5.0) -> tuple[int, bytes]:
        """The status and the body of the answer.

        Raises:
            OSError: Nobody answered in time.
            http.client.HTTPException: What answered broke off.
        """
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._context, timeout=seconds)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def tls_context(authority: Authority, user: Pair | None = None) -> ssl.SSLContext:
    """Trusts the control plane's authority, and shows a user's certificate if one is given."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if user is not None:
        context.load_cert_chain(user.certificate, user.key)
    return context


def write_kubeconfig(path: Path, url: str, authority: Authority, user: dict[str, Any], namespace: str) -> Path:
    """A file that any client understands, complete in itself."""
    cluster = {"server": url, "certificate-authority-data": _encoded(authority.certificate)}
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def by_certificate(pair: Pair) -> dict[str, Any]:
    """How a kubeconfig names a user with a certificate."""
    return {"client-certificate-data": _encoded(pair.certificate), "client-key-data": _encoded(pair.key)}


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
