"""A bundle is taken whole and from the holder of the key, or not at all; the message says what to do."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.files import SIGNATURE, SUMS, VALUES
from plumbline_operator.bundle.signature import PrivateKey
from plumbline_operator.main import run_command
from tests.support import bundles


class Carried:
    """A signed bundle that has come across, and the public key that came on another way."""

    def __init__(self, folder: Path, key: PrivateKey, public: Path) -> None:
        self.folder, self.key, self.public = folder, key, public

    def verify(self, *flags: str | Path) -> int:
        return run_command(["bundle", "verify", str(self.folder), *map(str, flags or ("--key", self.public))])

    def layer(self) -> Path:
        blobs = sorted((self.folder / "images/blobs/sha256").iterdir())
        return next(path for path in blobs if path.read_bytes().startswith(b"\x1f\x8b"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    """Written once; the tests damage copies."""
    folder = tmp_path_factory.mktemp("maker")
    key, _, public = bundles.write_pair(folder)
    return Carried(bundles.bundle(folder, key), key, public)


@pytest.fixture
def carried(original: Carried, tmp_path: Path) -> Carried:
    return Carried(shutil.copytree(original.folder, tmp_path / "carried"), original.key, original.public)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_whole_bundle_is_verified_with_its_images_and_its_key(
    carried: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carried.verify() == ExitCode.OK
    told = capsys.readouterr().out
    assert set(re.findall(r"^(\w+) sha256:[0-9a-f]{64}$", told, re.MULTILINE)) == set(bundles.NAMES)
    assert re.search(r"is whole: version 0\.1\.0, 5 images, \d+ files, [\d.]+ MB, signed by .*\(sha256:\w{64}\)", told)


def test_a_key_on_a_curve_does_too(tmp_path: Path) -> None:
    key, _, public = bundles.write_pair(tmp_path, "p256")
    folder = bundles.bundle(tmp_path, key)
    assert run_command(["bundle", "verify", str(folder), "--key", str(public)]) == ExitCode.OK


def test_a_list_can_be_signed_by_openssl_where_nothing_of_ours_is(tmp_path: Path) -> None:
    private, public = tmp_path / "bundle.key", tmp_path / "bundle.pub"
    bundles.openssl("genpkey -algorithm ed25519", "-out", private)
    bundles.openssl("pkey -pubout", "-in", private, "-out", public)
    folder = bundles.bundle(tmp_path)
    bundles.openssl("pkeyutl -sign -rawin", "-inkey", private, "-in", folder / SUMS, "-out", folder / SIGNATURE)
    assert run_command(["bundle", "verify", str(folder), "--key", str(public)]) == ExitCode.OK


def drop_a_file(carried: Carried) -> None:
    carried.layer().unlink()


def add_a_file(carried: Carried) -> None:
    (carried.folder / "charts/other.tgz").write_bytes(b"")


def link_out(carried: Carried) -> None:
    (carried.folder / "images.txt").unlink()
    (carried.folder / "images.txt").symlink_to("/etc/hostname")


def garble_the_list(carried: Carried) -> None:
    (carried.folder / SUMS).write_text(f"{'0' * 64}  ../outside\n")
    (carried.folder / SIGNATURE).write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "fact"),
    [
        (lambda carried: bundles.flip(carried.layer()), r"1 files have changed: images/blobs/sha256/\w+"),
        (lambda carried: bundles.flip(carried.folder / "import.sh"), "1 files have changed: import.sh"),
        (drop_a_file, r"1 of its files are missing: images/blobs/sha256/\w+"),
        (add_a_file, r"1 files are there that it does not list: charts/other\.tgz"),
        (link_out, r"images\.txt: is neither a file nor a folder"),
        (garble_the_list, r"SHA256SUMS:1: is no line of a bundle"),
    ],
)
def test_damage_is_refused_by_name(
    carried: Carried, capsys: pytest.CaptureFixture[str], damage: Callable[[Carried], None], fact: str
) -> None:
    damage(carried)
    assert carried.verify() == ExitCode.BAD_DATA
    assert re.search(rf"{fact}.*; copy the bundle again from where it was made$", said(capsys))


def test_a_changed_list_is_a_bad_signature(carried: Carried, capsys: pytest.CaptureFixture[str]) -> None:
    bundles.flip(carried.folder / "import.sh")
    signature = (carried.folder / SIGNATURE).read_bytes()
    bundles.reseal(carried.folder)
    (carried.folder / SIGNATURE).write_bytes(signature)
    assert carried.verify() == ExitCode.NOT_PERMITTED
    assert "is not the key's signature of this bundle" in said(capsys)


def test_another_key_is_a_bad_signature(carried: Carried, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    _, _, other = bundles.write_pair(tmp_path / "other")
    assert carried.verify("--key", other) == ExitCode.NOT_PERMITTED
    assert "another key made it" in said(capsys)
    # Not even where unsigned ones would do.
    assert carried.verify("--key", other, "--allow-unsigned") == ExitCode.NOT_PERMITTED


def test_an_unsigned_bundle_is_refused_unless_it_is_allowed(
    carried: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    (carried.folder / SIGNATURE).unlink()
    assert carried.verify() == ExitCode.NOT_PERMITTED
    assert "is not signed; get a signed one, or take it as it is with --allow-unsigned" in said(capsys)
    assert carried.verify("--allow-unsigned") == ExitCode.OK
    assert "NOT SIGNED by anybody whose key was given" in capsys.readouterr().out


def test_a_signature_that_nobody_can_check_is_refused_too(carried: Carried, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bundle", "verify", str(carried.folder)]) == ExitCode.NOT_PERMITTED
    assert "needs a public key to be checked; name it with --key FILE" in said(capsys)


def test_a_private_key_does_not_belong_here(carried: Carried, capsys: pytest.CaptureFixture[str]) -> None:
    assert carried.verify("--key", carried.public.with_suffix(".key")) == ExitCode.BAD_SPEC
    assert "is a private key; keep it away from here" in said(capsys)


def forget_an_image(folder: Path) -> None:
    index = json.loads((folder / "images/index.json").read_bytes())
    index["manifests"] = [one for one in index["manifests"] if "guard" not in str(one["annotations"])]
    (folder / "images/index.json").write_text(json.dumps(index))


def name_another_digest(folder: Path) -> None:
    values = yaml.safe_load((folder / VALUES).read_text())
    values["images"]["guard"]["digest"] = values["images"]["trainer"]["digest"]
    (folder / VALUES).write_text(yaml.safe_dump(values))


def name_no_digest(folder: Path) -> None:
    (folder / VALUES).write_text("images: {}\n")


def add_an_image(folder: Path) -> None:
    index = json.loads((folder / "images/index.json").read_bytes())
    more = {**index["manifests"][0], "annotations": {"org.opencontainers.image.ref.name": "miner"}}
    (folder / "images/index.json").write_text(json.dumps({**index, "manifests": [*index["manifests"], more]}))


def lose_a_layer(folder: Path) -> None:
    blobs = sorted((folder / "images/blobs/sha256").iterdir())
    next(path for path in blobs if path.read_bytes().startswith(b"\x1f\x8b")).unlink()


def rename_a_layer(folder: Path) -> None:
    blobs = sorted((folder / "images/blobs/sha256").iterdir())
    layers = [path for path in blobs if path.read_bytes().startswith(b"\x1f\x8b")]
    os.replace(layers[0], layers[1])


def escape(folder: Path) -> None:
    index = json.loads((folder / "images/index.json").read_bytes())
    index["manifests"][0]["digest"] = "sha256:../../../../etc/passwd"
    (folder / "images/index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "fact"),
    [
        (forget_an_image, "lacks images that the chart uses: guard"),
        (add_an_image, "has images that the chart does not know: miner"),
        (name_another_digest, r"guard is sha256:\w+, and the layout has sha256:"),
        (name_no_digest, "engine is no digest, and the layout has sha256:"),
        (lose_a_layer, r"lacks sha256:\w{64}"),
        (rename_a_layer, "files of the layout do not have the digests of their names"),
        (escape, "which is no SHA-256 digest"),
        (lambda folder: (folder / "images/oci-layout").write_text("{}"), "is no OCI layout of version"),
        (lambda folder: (folder / "images/index.json").write_text("[]"), "which describes nothing"),
        (lambda folder: (folder / "charts/plumbline-0.1.0.tgz").unlink(), "has 0 packaged charts"),
        (lambda folder: (folder / "charts/plumbline-0.1.0.tgz").write_bytes(b"x"), "is no packaged chart"),
        (lambda folder: (folder / VALUES).write_text("a: ["), "is no YAML"),
    ],
)
def test_what_was_listed_and_signed_and_is_no_bundle_is_refused(
    carried: Carried, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], fact: str
) -> None:
    spoil(carried.folder)
    bundles.reseal(carried.folder, carried.key)
    assert carried.verify() == ExitCode.BAD_DATA
    assert re.search(fact, said(capsys))


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_what_is_no_bundle_at_all_is_a_wrong_argument(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    assert run_command(["bundle", "verify", str(tmp_path / folder), "--allow-unsigned"]) == ExitCode.BAD_SPEC
    assert said(capsys)
