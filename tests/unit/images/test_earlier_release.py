"""The release before this one, which the test of upgrades makes for itself."""

from pathlib import Path

import yaml

from images.build.workshop import read_records
from images.bundle.writer import Sources, write_bundle
from plumbline_api.names import ExitCode
from plumbline_operator.main import run_command
from tests.e2e.previous import ADDED, VERSION, earlier_sources
from tests.support import bundles
from tests.support.checkout import ROOT

CRD = "crds/guardedinferences.plumbline.dev.yaml"


def test_an_earlier_release_has_other_digests_the_same_layers_and_crds_without_a_field(tmp_path: Path) -> None:
    images = bundles.small_images(tmp_path / "build")
    present = Sources(ROOT, images, read_records(images))
    earlier = earlier_sources(present, tmp_path / "earlier")
    key, _, public = bundles.write_pair(tmp_path)
    folder = write_bundle(earlier, tmp_path / "out", key)
    assert run_command(["bundle", "verify", str(folder), "--key", str(public)]) == ExitCode.OK
    assert folder.name == f"plumbline-{VERSION}"
    values = yaml.safe_load((folder / "values-bundle.yaml").read_text(encoding="utf-8"))["images"]
    assert all(values[name]["digest"] != record.digest for name, record in present.records.items())
    shared = {path.name for path in (images / "oci/blobs/sha256").iterdir()} & set(names_in(folder))
    assert len(shared) == len(present.records), "a layer each, and neither config nor manifest"
    before, after = (place.read_text(encoding="utf-8") for place in (folder / CRD, ROOT / CRD))
    assert (ADDED in before, ADDED in after) == (False, True)


def names_in(bundle: Path) -> list[str]:
    return [path.name for path in (bundle / "images/blobs/sha256").iterdir()]
