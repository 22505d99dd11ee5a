"""The chart of a bundle is one that both Helms take, and renders what the folder does."""

import tarfile
from pathlib import Path

import pytest
import yaml

from images.bundle.chart import pack_chart
from tests.chart.helm import CHART, DIGESTS, Helm, Rendering

pytestmark = pytest.mark.cluster


def test_helm_renders_the_packaged_chart_as_the_folder(helm: Helm, tmp_path: Path) -> None:
    packed = tmp_path / "plumbline-0.1.0.tgz"
    packed.write_bytes(pack_chart(CHART))
    given = Rendering(DIGESTS)
    flags = ("--namespace", given.namespace, "--kube-version", given.kubernetes, "--api-versions", given.apis[0])
    text = yaml.safe_dump(DIGESTS)
    done = helm.run("template", given.release, str(packed), *flags, "-f", "-", text=text)
    assert done.stdout == helm.template(given).stdout
    assert "version: 0.1.0" in helm.run("show", "chart", str(packed)).stdout


def test_helm_packs_the_same_files(helm: Helm, tmp_path: Path) -> None:
    helm.run("package", str(CHART), "--destination", str(tmp_path))
    (tmp_path / "ours.tgz").write_bytes(pack_chart(CHART))

    def names(path: Path) -> set[str]:
        with tarfile.open(path) as archive:
            return set(archive.getnames())

    assert names(tmp_path / "plumbline-0.1.0.tgz") == names(tmp_path / "ours.tgz")
