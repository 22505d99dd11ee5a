"""A bundle is brought into a real registry with TLS by an authority of its own, and with accounts."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from images.build.workshop import read_records
from plumbline_api.names import ExitCode
from plumbline_operator.bundle.accounts import PASSWORD, USER
from plumbline_operator.main import run_command
from tests.cluster.pki import Authority
from tests.e2e.build.packages import find_program
from tests.e2e.registry import Registry
from tests.support import bundles

pytestmark = pytest.mark.e2e

NEEDED = ("docker-registry", "htpasswd", "skopeo", "setpriv")


@dataclass(frozen=True)
class Site:
    """A registry, and a bundle that has come across."""

    registry: Registry
    folder: Path
    images: Path
    """Of which the bundle was made."""
    public: Path

    def arguments(self, *more: str | Path, path: str = "") -> list[str]:
        place = ("--ca", self.registry.authority, "--key", self.public)
        return ["bundle", "push", str(self.folder), self.registry.by_address + path, *map(str, (*place, *more))]

    def digests(self) -> dict[str, str]:
        return {name: record.digest for name, record in read_records(self.images).items()}

    def inspect(self, repository: str, reference: str) -> str:
        """The manifest's digest, as skopeo finds it by a digest or a tag."""
        registry, accounts = self.registry, self.folder.parent / "accounts.json"
        accounts.write_text(login(registry))
        place = f"docker://{registry.by_address}/{repository}{reference}"
        flags = [f"--authfile={accounts}", f"--cert-dir={trusted(registry, self.folder.parent)}"]
        command = [*skopeo(), "inspect", *flags, "--format", "{{.Digest}}", place]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip()


def skopeo() -> list[str]:
    return [str(find_program("skopeo")), "--insecure-policy"]


def login(registry: Registry) -> str:
    """What `docker login` would have written."""
    return str(registry.pull_secret("it")["stringData"][".dockerconfigjson"])


def trusted(registry: Registry, folder: Path) -> Path:
    """A folder of nothing but the registry's authority."""
    place = folder / "trusted"
    place.mkdir(exist_ok=True)
    shutil.copy(registry.authority, place / "ca.crt")
    return place


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """On an address of this test run's own."""
    if sys.platform != "linux":
        pytest.skip("all of 127.0.0.0/8 is this machine on Linux alone")
    if missing := [name for name in NEEDED if find_program(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed; make e2e installs what it needs")
    number = os.getpid()
    running = Registry(tmp_path_factory.mktemp("registry") / "it", f"127.9.{number // 250 % 250}.{number % 250 + 1}")
    running.start()
    yield running
    running.process.stop()


@pytest.fixture
def site(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Somebody who may push, with a bundle of images that the registry does not have."""
    key, _, public = bundles.write_pair(tmp_path)
    images = bundles.small_images(tmp_path / "build", salt=tmp_path.name.encode())
    monkeypatch.setenv(USER, registry.user)
    monkeypatch.setenv(PASSWORD, registry.password)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "REGISTRY_AUTH_FILE",
        "DOCKER_CONFIG",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "HTTPS_PROXY",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    return Site(registry, bundles.bundle(tmp_path, key), images, public)


def asked(registry: Registry, method: str) -> list[str]:
    return [line for line in registry.requests() if line.startswith(f"{method} ")]


def test_every_image_arrives_by_its_digest_and_a_tag_of_its_own(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(site.arguments("--user-from-env", path="/team")) == ExitCode.OK
    told = capsys.readouterr()
    for name, digest in site.digests().items():
        assert site.inspect(f"team/plumbline/{name}", f"@{digest}") == digest
        assert site.inspect(f"team/plumbline/{name}", f":0.1.0-{digest[7:19]}") == digest
    values = f"-f {site.folder}/values-bundle.yaml --set global.imageRegistry={site.registry.by_address}/team"
    assert told.out.startswith(f"helm install plumbline {site.folder}/charts/plumbline-0.1.0.tgz")
    assert told.out.rstrip().endswith(values)
    assert len(re.findall(r"^\w+ \(\d of 5\): 3 files, 0\.0 MB, sent", told.err, re.MULTILINE)) == 5


def test_a_second_time_nothing_is_sent(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(site.arguments("--user-from-env")) == ExitCode.OK
    before = [asked(site.registry, method) for method in ("PATCH", "PUT", "POST")]
    capsys.readouterr()
    assert run_command(site.arguments("--user-from-env")) == ExitCode.OK
    assert [asked(site.registry, method) for method in ("PATCH", "PUT", "POST")] == before
    assert capsys.readouterr().err.count("): is there") == 5


def test_a_layer_that_images_share_travels_once(site: Site) -> None:
    again = site.folder.parent / "shared"
    again.mkdir()
    bundles.small_images(again / "build", salt=b"all the same", alike=True)
    shared = Site(
        site.registry, bundles.bundle(again, bundles.write_pair(again)[0]), again / "build", again / "ed25519.pub"
    )
    before = len(asked(site.registry, "PATCH"))
    assert run_command(shared.arguments("--user-from-env")) == ExitCode.OK
    # Five configurations and one layer.
    assert len(asked(site.registry, "PATCH")) - before == len(bundles.NAMES) + 1
    for name, digest in shared.digests().items():
        assert shared.inspect(f"plumbline/{name}", f"@{digest}") == digest


def test_a_dry_run_sends_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    before = [asked(site.registry, method) for method in ("PATCH", "PUT", "POST")]
    assert run_command(site.arguments("--user-from-env", "--dry-run")) == ExitCode.OK
    assert [asked(site.registry, method) for method in ("PATCH", "PUT", "POST")] == before
    assert capsys.readouterr().err.count("MB, would be sent") == 5


def test_dockers_login_does_too(site: Site) -> None:
    docker = site.public.parent / ".docker/config.json"
    docker.parent.mkdir()
    docker.write_text(login(site.registry))
    assert run_command(site.arguments()) == ExitCode.OK


def line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_a_wrong_password_is_refused_in_words(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "wrong")
    assert run_command(site.arguments("--user-from-env")) == ExitCode.NOT_PERMITTED
    assert f"does not take the account {site.registry.user} (401" in line(capsys)
    assert run_command(site.arguments()) == ExitCode.NOT_PERMITTED
    assert "wants an account (401" in line(capsys)


def test_an_unknown_authority_is_refused_in_words(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    other = Authority(site.folder.parent / "other").certificate
    without = ["bundle", "push", str(site.folder), site.registry.by_address, "--key", str(site.public)]
    for arguments in (without, [*without, "--ca", str(other)]):
        assert run_command([*arguments, "--user-from-env"]) == ExitCode.BAD_CONFIG
        assert re.search(r"its certificate is not accepted: .*; name the authority .* with --ca FILE", line(capsys))


def test_what_is_not_whole_or_not_signed_is_not_sent(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(site.registry.requests())
    layer = next(
        path for path in (site.folder / "images/blobs/sha256").iterdir() if path.read_bytes()[:2] == b"\x1f\x8b"
    )
    whole = layer.read_bytes()
    bundles.flip(layer)
    assert run_command(site.arguments("--user-from-env")) == ExitCode.BAD_DATA
    assert "1 files have changed" in line(capsys)
    layer.unlink()
    assert run_command(site.arguments("--user-from-env")) == ExitCode.BAD_DATA
    assert "1 of its files are missing" in line(capsys)
    layer.write_bytes(whole)
    (site.folder / "more").write_bytes(b"")
    assert run_command(site.arguments("--user-from-env")) == ExitCode.BAD_DATA
    assert "1 files are there that it does not list: more" in line(capsys)
    (site.folder / "more").unlink()
    (site.folder.parent / "other").mkdir()
    other = bundles.write_pair(site.folder.parent / "other")[2]
    assert run_command(site.arguments("--user-from-env", "--key", other)) == ExitCode.NOT_PERMITTED
    assert len(site.registry.requests()) == before
    assert run_command(site.arguments("--user-from-env")) == ExitCode.OK


def script(site: Site, *more: str | Path) -> subprocess.CompletedProcess[str]:
    """The import script with skopeo, and without our command."""
    command = ["/bin/sh", site.folder / "import.sh", site.registry.by_address, "--ca", site.registry.authority, *more]
    kept = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PLUMBLINE_IMPORT": "skopeo", "HOME": str(site.folder.parent)}
    return subprocess.run(command, env=kept, check=False, capture_output=True, text=True)


def test_the_script_needs_skopeo_alone(site: Site) -> None:
    accounts = site.folder.parent / "login.json"
    accounts.write_text(login(site.registry))
    done = script(site, "--key", site.public, "--authfile", accounts)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"--set global.imageRegistry={site.registry.by_address}")
    for name, digest in site.digests().items():
        assert site.inspect(f"plumbline/{name}", f"@{digest}") == digest
    # What it pushed is what our command pushes.
    before = asked(site.registry, "PUT")
    assert run_command(site.arguments("--user-from-env")) == ExitCode.OK
    assert asked(site.registry, "PUT") == before


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        ("flip", ExitCode.BAD_DATA, "images.txt: FAILED"),
        ("lose", ExitCode.BAD_DATA, "images.txt"),
        ("add", ExitCode.BAD_DATA, "holds files that SHA256SUMS does not list"),
        ("link", ExitCode.BAD_DATA, "holds links"),
        ("list", ExitCode.NOT_PERMITTED, "is not the key's signature of this bundle"),
        ("unsign", ExitCode.NOT_PERMITTED, "is not signed"),
    ],
)
def test_the_script_refuses_what_our_command_refuses(site: Site, damage: str, code: int, said: str) -> None:
    before = len(site.registry.requests())
    if damage == "flip":
        bundles.flip(site.folder / "images.txt")
    elif damage == "lose":
        (site.folder / "images.txt").unlink()
    elif damage == "add":
        (site.folder / "charts/more").write_bytes(b"")
    elif damage == "link":
        (site.folder / "charts/more").symlink_to("/etc/hostname")
    elif damage == "list":
        bundles.flip(site.folder / "SHA256SUMS")
    else:
        (site.folder / "SHA256SUMS.sig").unlink()
    done = script(site, "--key", site.public)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert len(site.registry.requests()) == before


def test_the_script_wants_a_key_or_to_be_told_that_none_is_needed(site: Site) -> None:
    assert script(site).returncode == ExitCode.NOT_PERMITTED
    assert script(site, "--key").returncode == ExitCode.BAD_SPEC
    assert script(site, "--allow-unsigned", "--authfile", "/nonexistent").returncode == ExitCode.BAD_SPEC
