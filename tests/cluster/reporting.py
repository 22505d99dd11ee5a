"""A pod's part in reporting progress: its token, what it was told, and posts to the operator's endpoint."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from plumbline_api.names import AUTHORITY_FILE, ENV_STATUS_URL, VOLUME_STATUS
from plumbline_operator.kube.assembly import Operator
from plumbline_operator.kube.settings import ProgressSettings
from tests.cluster.client import CONFIG_MAPS, PODS, KubeClient, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.operating import mark_pod

__all__ = ["Answer", "Reporter", "begin", "expired", "report", "reporting"]

PATIENCE = 60.0


def reporting(namespace: str) -> ProgressSettings:
    """Settings for reports to an operator within the test; its port is known when it has started."""
    return ProgressSettings(url="https://127.0.0.1", port=0, secret=f"{namespace}/plumbline-progress")


def report(percentage: int = 1, **metrics: object) -> bytes:
    """A report as Kubeflow's clients send it."""
    named = [{"name": name, "value": str(value)} for name, value in metrics.items()]
    status = {"lastUpdatedTime": "2026-01-31T12:00:00+00:00", "progressPercentage": percentage, "metrics": named}
    return json.dumps({"trainerStatus": status}).encode()


@dataclass(frozen=True)
class Answer:
    """What the endpoint answered."""

    code: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Reporter:
    """A pod at work that may report."""

    pod: Object
    authority: str
    """What it was told to trust."""
    token: str
    tls: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.tls = ssl.create_default_context(cadata=self.authority)

    @property
    def path(self) -> str:
        """Where it was told to report."""
        return urlsplit(self._told[ENV_STATUS_URL]).path

    @property
    def _told(self) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.pod["spec"]["containers"][0]["env"]}

    def url(self, operator: Operator) -> str:
        """The whole address at an operator of this test."""
        assert operator.progress is not None
        return f"https://127.0.0.1:{operator.progress.server.port}{self.path}"

    async def post(self, operator: Operator, body: bytes = b"", *, path: str = "", **headers: str) -> Answer:
        """One post, with the pod's token unless there is another header."""
        assert operator.progress is not None
        url = f"https://127.0.0.1:{operator.progress.server.port}{path or self.path}"
        given = {"Authorization": f"Bearer {self.token}", **headers}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls)) as session,
            session.post(url, data=body or report(), headers=given) as answer,
        ):
            return Answer(answer.status, answer.headers, await answer.text())


async def begin(plane: ControlPlane, kube: KubeClient, namespace: str, job: str) -> Reporter:
    """Let the pod of a Job begin its work, with the token that the kubelet would give it."""

    async def look() -> list[Object]:
        return await kube.items(PODS, namespace, f"job-name={job}")

    pod = (await eventually(look, PATIENCE))[0]
    await mark_pod(kube, pod, running={"startedAt": "2026-01-31T12:00:00Z"})
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == VOLUME_STATUS]
    asked = volume["projected"]["sources"][0]["serviceAccountToken"]
    token = await token_for(plane, pod, asked["audience"], asked["expirationSeconds"])
    config_map = await kube.get(CONFIG_MAPS, job, namespace)
    return Reporter(pod, config_map["data"][AUTHORITY_FILE], token)


async def token_for(plane: ControlPlane, pod: Object, audience: str, seconds: int = 3600, *, bound: bool = True) -> str:
    """A token of the pod's account, bound to the pod."""
    metadata = pod["metadata"]
    spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": seconds}
    if bound:
        reference = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec["boundObjectRef"] = reference
    account = pod["spec"]["serviceAccountName"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
    status, answer = await asyncio.to_thread(plane.caller.call, "POST", path, {"kind": "TokenRequest", "spec": spec})
    assert status == 201, answer
    return str(json.loads(answer)["status"]["token"])


def expired(plane: ControlPlane, token: str) -> str:
    """The same token with its time over, signed as the API server signs."""
    head, claims, _ = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(claims + "=="))
    past = {"exp": int(time.time()) - 60, "iat": int(time.time()) - 3660, "nbf": int(time.time()) - 3660}
    body = f"{head}.{_encoded(json.dumps(content | past).encode())}"
    key = load_pem_private_key((plane.folder / "pki/service-accounts.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    first, second = utils.decode_dss_signature(key.sign(body.encode(), ec.ECDSA(SHA256())))
    return f"{body}.{_encoded(first.to_bytes(32, 'big') + second.to_bytes(32, 'big'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
