"""A private registry as a site has it: TLS by an authority of its own, and nobody enters without an account."""

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.cluster.client import Object
from tests.cluster.component import Component
from tests.cluster.pki import Authority
from tests.e2e.build.packages import find_program

__all__ = ["REGISTRY_NAME", "REGISTRY_PORT", "Registry", "RegistryError"]

REGISTRY_NAME = "registry.plumbline.test"
REGISTRY_PORT = 5000
USER = "platform"
PATIENCE = 20.0
LISTENS = "listening on "


class RegistryError(Exception):
    """What the registry, or a program that speaks with it, refused."""


class TiedComponent(Component):
    """A program of this machine that the kernel ends with the test run."""

    def _command(self) -> list[str]:
        return ["setpriv", "--pdeathsig", "KILL", "--", *super()._command()]


class Registry:
    """The registry, its process, and everything that is needed to be let in."""

    def __init__(self, folder: Path, host: str) -> None:
        """Not started yet; `host` is the address where it will listen."""
        folder.mkdir()
        self.folder = folder
        self.by_address = f"{host}:{REGISTRY_PORT}"
        """How it can be reached, too; the node trusts only the name."""
        self.name = f"{REGISTRY_NAME}:{REGISTRY_PORT}"
        self.user, self.password = USER, secrets.token_urlsafe(12)
        self._authority = Authority(folder / "pki")
        self.authority = self._authority.certificate
        self.process = TiedComponent(_program("docker-registry"), ["serve", str(self._configure(host))], folder / "log")

    def start(self) -> None:
        """Begin, and wait until it listens; again, too.

        Raises:
            RegistryError: It ended, or takes too long.
        """
        before = self._starts()
        self.process.start()
        end = time.monotonic() + PATIENCE
        while self._starts() == before:
            if self.process.ended is not None or time.monotonic() > end:
                raise RegistryError(f"the registry does not listen: {self.process.complaints()}")
            time.sleep(0.02)

    def push(self, layout: Path, repository: str) -> str:
        """Copy the image of an OCI layout as it is; the reference by digest.

        Raises:
            RegistryError: It could not be copied.
        """
        digest = self.folder / "digest"
        flags = ["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests", f"--digestfile={digest}"]
        flags += [f"--dest-authfile={self._accounts()}", f"--dest-cert-dir={self._certificates()}"]
        self._skopeo(*flags, f"oci:{layout}", f"docker://{self.by_address}/{repository}:pushed")
        return f"{self.name}/{repository}@{digest.read_text(encoding='ascii').strip()}"

    def remove(self, reference: str) -> None:
        """Delete an image by its digest; its layers stay.

        Raises:
            RegistryError: It is not there.
        """
        flags = ["--insecure-policy", "delete", f"--authfile={self._accounts()}", f"--cert-dir={self._certificates()}"]
        self._skopeo(*flags, f"docker://{reference.replace(self.name, self.by_address)}")

    def pull_secret(self, name: str, password: str = "") -> Object:
        """A Secret for `imagePullSecrets`, with another password if one is given."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name},
            "stringData": {".dockerconfigjson": self._login(password or self.password)},
        }

    def requests(self) -> list[str]:
        """What was asked for so far: method and path of each request that was answered."""
        found = []
        for line in self.process.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if (
                line.startswith("{")
                and "http.request.uri" in (told := json.loads(line))
                and "http.response.status" in told
            ):
                found.append(f"{told['http.request.method']} {told['http.request.uri']}")
        return found

    def _configure(self, host: str) -> Path:
        serving = self._authority.issue("registry", addresses=(REGISTRY_NAME, host))
        users = self.folder / "users"
        users.write_text(_hashed(self.user, self.password), encoding="ascii")
        configuration = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "storage")}, "delete": {"enabled": True}},
            "http": {
                "addr": f"{host}:{REGISTRY_PORT}",
                "secret": secrets.token_hex(16),
                "tls": {"certificate": str(serving.certificate), "key": str(serving.key)},
            },
            "auth": {"htpasswd": {"realm": "site", "path": str(users)}},
        }
        path = self.folder / "registry.yaml"
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        return path

    def _starts(self) -> int:
        log = self.process.log
        return log.read_text(encoding="utf-8", errors="replace").count(LISTENS) if log.exists() else 0

    def _login(self, password: str) -> str:
        token = base64.b64encode(f"{self.user}:{password}".encode()).decode()
        return json.dumps({"auths": {registry: {"auth": token} for registry in (self.name, self.by_address)}})

    def _accounts(self) -> Path:
        path = self.folder / "accounts.json"
        path.touch(mode=0o600)
        path.write_text(self._login(self.password), encoding="utf-8")
        return path

    def _certificates(self) -> Path:
        """What to trust, the way skopeo wants it: a folder of nothing but authorities."""
        folder = self.folder / "trusted"
        folder.mkdir(exist_ok=True)
        (folder / "ca.crt").write_bytes(self.authority.read_bytes())
        return folder

    def _skopeo(self, *arguments: str) -> None:
        command: Sequence[str | Path] = [_program("skopeo"), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RegistryError(f"skopeo ended with {done.returncode}: {done.stderr.strip()[-1500:]}")


def _hashed(user: str, password: str) -> str:
    """A line of a password file; few rounds of bcrypt, since every pull pays for them."""
    done = subprocess.run(
        [_program("htpasswd"), "-n", "-i", "-B", "-C", "5", user],
        input=password,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def _program(name: str) -> Path:
    found = find_program(name)
    if found is None:
        raise RegistryError(f"{name} is not installed; run: make e2e")
    return Path(found)
