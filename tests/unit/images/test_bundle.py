"""What `make bundle` writes: all that a site needs, the same bytes each time, and nothing that was not built."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from images.build.errors import BuildError
from images.build.workshop import read_records
from images.bundle.writer import Sources, write_bundle
from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError
from plumbline_operator.bundle.files import SIGNATURE, SUMS, VALUES, files_in
from plumbline_operator.bundle.needed import needed_images
from plumbline_operator.bundle.signature import read_private_key, sign
from tests.support import bundles
from tests.support.checkout import ROOT

CHART = ROOT / "charts/plumbline"


def contents(folder: Path) -> Mapping[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (*files_in(folder), SUMS, SIGNATURE)}


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_two_bundles_of_the_same_images_are_the_same_bytes(tmp_path: Path, kind: str) -> None:
    key, _, _ = bundles.write_pair(tmp_path, kind)
    first = contents(bundles.bundle(tmp_path, key))
    for path in (tmp_path / "build").rglob("*.json"):
        path.touch()
    assert contents(bundles.bundle(tmp_path, key)) == first


def test_a_bundle_has_every_part(tmp_path: Path) -> None:
    folder = bundles.bundle(tmp_path)
    assert folder.name == f"plumbline-{bundles.VERSION}"
    found = {name for name in files_in(folder) if not name.startswith("images/blobs/")}
    assert found == {
        "README.md",
        "import.sh",
        "images.txt",
        "values-bundle.yaml",
        "zarf.yaml",
        "hauler.yaml",
        "images/index.json",
        "images/oci-layout",
        f"charts/plumbline-{bundles.VERSION}.tgz",
        "licences/LICENSE",
        "licences/THIRD-PARTY.md",
        *(f"crds/{path.name}" for path in (ROOT / "crds").glob("*.yaml")),
        *(f"sbom/{name}.cdx.json" for name in bundles.NAMES),
    }
    assert (folder / "import.sh").stat().st_mode & 0o111
    assert "| part-of-guard | 1.0 | MIT | guard |" in (folder / "licences/THIRD-PARTY.md").read_text()


def test_the_chart_in_it_is_the_chart_and_its_values_name_digests(tmp_path: Path) -> None:
    folder = bundles.bundle(tmp_path)
    with tarfile.open(folder / f"charts/plumbline-{bundles.VERSION}.tgz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked/plumbline"
    assert {path.relative_to(unpacked): path.read_bytes() for path in unpacked.rglob("*") if path.is_file()} == {
        path.relative_to(CHART): path.read_bytes() for path in CHART.rglob("*") if path.is_file()
    }
    records = read_records(tmp_path / "build")
    told = yaml.safe_load((folder / VALUES).read_text())["images"]
    assert {name: image["digest"] for name, image in told.items()} == {
        name: record.digest for name, record in records.items()
    }


def test_zarf_and_hauler_find_each_image_by_the_name_that_pods_give_it(tmp_path: Path) -> None:
    folder = bundles.bundle(tmp_path)
    own = yaml.safe_load((CHART / "values.yaml").read_text())
    told = yaml.safe_load((folder / VALUES).read_text())["images"]
    values = {"images": {name: {**image, **told.get(name, {})} for name, image in own["images"].items()}}
    references = {image.reference for image in needed_images(values, bundles.VERSION)}
    index = json.loads((folder / "images/index.json").read_bytes())["manifests"]
    assert {entry["annotations"]["io.containerd.image.name"] for entry in index} == references
    (component,) = yaml.safe_load((folder / "zarf.yaml").read_text())["components"]
    (archive,) = component["imageArchives"]
    assert set(archive["images"]) == references
    assert (folder / component["charts"][0]["localPath"]).is_file()
    parts = {one["kind"]: one["spec"] for one in yaml.safe_load_all((folder / "hauler.yaml").read_text())}
    assert {one["name"] for one in parts["Images"]["images"]} == references
    assert all((folder / one["path"]).is_file() for one in parts["Files"]["files"])
    (chart,) = parts["Charts"]["charts"]
    assert (folder / chart["repoURL"] / chart["name"]).is_file()


def test_zarfs_archive_is_made_beside_the_bundle_and_holds_the_layout(tmp_path: Path) -> None:
    folder = bundles.bundle(tmp_path)
    before = contents_of(folder)
    (component,) = yaml.safe_load((folder / "zarf.yaml").read_text())["components"]
    (action,) = component["actions"]["onCreate"]["before"]
    subprocess.run(["/bin/sh", "-c", action["cmd"]], cwd=folder, check=True)
    with tarfile.open(folder / component["imageArchives"][0]["path"]) as archive:
        assert {"./index.json", "./oci-layout"} < set(archive.getnames())
    assert contents_of(folder) == before


def contents_of(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def refusal(tmp_path: Path, built: Path) -> str:
    with pytest.raises((BuildError, BundleError)) as refused:
        write_bundle(Sources(ROOT, built, read_records(built)), tmp_path / "out", None)
    assert not (tmp_path / f"out/plumbline-{bundles.VERSION}").exists()
    return str(refused.value)


def test_an_image_that_was_not_built_is_named_with_the_command_that_builds_it(tmp_path: Path) -> None:
    built = bundles.small_images(tmp_path / "built", ("operator", "guard", "evaluator"))
    assert refusal(tmp_path, built).endswith("lacks engine,trainer; build: make images ONLY=engine,trainer")


def test_images_of_another_version_are_refused(tmp_path: Path) -> None:
    built = bundles.small_images(tmp_path / "built", version="0.0.9")
    assert "of another version than the chart's 0.1.0" in refusal(tmp_path, built)


def test_an_image_that_is_not_the_recorded_one_is_refused(tmp_path: Path) -> None:
    built = bundles.small_images(tmp_path / "built")
    records = json.loads((built / "images.json").read_text())
    records["images"][0]["digest"] = records["images"][1]["digest"]
    (built / "images.json").write_text(json.dumps(records))
    assert "does not hold operator sha256:" in refusal(tmp_path, built)


def test_a_damaged_layer_does_not_get_into_a_bundle(tmp_path: Path) -> None:
    built = bundles.small_images(tmp_path / "built")
    layers = (path for path in (built / "oci/blobs/sha256").iterdir() if path.read_bytes().startswith(b"\x1f\x8b"))
    bundles.flip(next(layers))
    assert "does not have the digest of its name" in refusal(tmp_path, built)


def test_what_a_builder_left_in_the_layout_without_a_name_stays_there(tmp_path: Path) -> None:
    built = bundles.small_images(tmp_path / "built")
    index = json.loads((built / "oci/index.json").read_text())
    left = {**index["manifests"][0], "digest": f"sha256:{'0' * 64}", "annotations": {}}
    (built / "oci/index.json").write_text(json.dumps({**index, "manifests": [left, *index["manifests"]]}))
    folder = write_bundle(Sources(ROOT, built, read_records(built)), tmp_path / "out", None)
    assert len(json.loads((folder / "images/index.json").read_bytes())["manifests"]) == len(bundles.NAMES)


def test_no_images_at_all_are_said_to_be_missing(tmp_path: Path) -> None:
    assert "lacks engine,evaluator,guard,operator,trainer" in refusal(tmp_path, tmp_path / "nothing")


def test_openssl_takes_our_signatures_and_we_take_openssls(tmp_path: Path) -> None:
    for kind in ("ed25519", "p256"):
        key, private, public = bundles.write_pair(tmp_path, kind)
        listed, signature = tmp_path / "list", tmp_path / "signature"
        listed.write_bytes(b"some list\n")
        signature.write_bytes(sign(key, b"some list\n"))
        bundles.openssl("pkeyutl -verify -pubin -rawin", "-inkey", public, "-in", listed, "-sigfile", signature)
        assert read_private_key(private).public_key() == key.public_key()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("-algorithm rsa -pkeyopt rsa_keygen_bits:2048", "is neither Ed25519 nor ECDSA on P-256"),
        ("-algorithm ec -pkeyopt ec_paramgen_curve:secp384r1", "is neither Ed25519 nor ECDSA on P-256"),
        ("-algorithm ed25519 -aes256 -pass pass:secret", "is locked with a password"),
    ],
)
def test_a_key_of_another_kind_is_refused_with_the_command_that_makes_one(tmp_path: Path, made: str, said: str) -> None:
    path = tmp_path / "other.key"
    bundles.openssl(f"genpkey {made}", "-out", path)
    with pytest.raises(BundleError, match=said) as refused:
        read_private_key(path)
    assert refused.value.exit_code == ExitCode.BAD_SPEC


def test_the_program_writes_signs_and_says_so(tmp_path: Path) -> None:
    bundles.small_images(tmp_path / "built")
    _, private, _ = bundles.write_pair(tmp_path)
    command = [sys.executable, "-m", "images.bundle", "--images", str(tmp_path / "built"), "--output", str(tmp_path)]
    signed = subprocess.run([*command, "--key", private], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "signed; the public key is sha256:" in signed.stderr
    unsigned = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "it is NOT SIGNED" in unsigned.stderr
    assert not (tmp_path / f"plumbline-{bundles.VERSION}" / SIGNATURE).exists()
    wrong = subprocess.run(
        [*command, "--key", tmp_path / "none"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, wrong.stderr.count("\n")) == (ExitCode.BAD_SPEC, 1)
