"""`make chart`: lint with both Helms, render every file of values, and let Checkov look at what comes out."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from plumbline_api.names import ExitCode
from tests.chart.helm import CHART, VALUES, Helm, Object, Rendering, values_of
from tests.cluster.build.cache import BuildError, cache_root, need_space, publish, say
from tests.cluster.build.clients import unpack_clients
from tests.cluster.build.toolchain import install_locked
from tests.cluster.programs import unsupported
from tests.support.build import digest
from tests.support.checkout import ROOT

LOCK = ROOT / "requirements/chart-checks.txt"
UNPACKED_MB = 250
SKIPPED = {
    "CKV_K8S_11": "a CPU limit would throttle what renews the lease; CPU is requested",
    "CKV_K8S_15": "what is named by digest is the same whenever it is pulled",
    "CKV_K8S_38": "the operator talks to the API server; nothing else has a token",
}
"""Checks that are passed over, and why."""
SWITCHED_OFF = ("everything-off",)
"""Values that ask for less than Checkov does."""


def main(folder: Path) -> int:
    """Do everything; what is rendered stays in the folder."""
    if reason := unsupported():
        say(f"nothing is checked: {reason}")
        return ExitCode.OK
    root = cache_root(os.environ)
    try:
        clients = unpack_clients(root)
        checkov = _install_checkov(root)
    except BuildError as error:
        say(str(error))
        return error.code
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        helms = [Helm(clients / name, Path(home, name)) for name in ("helm3", "helm4")]
        for path in VALUES:
            values = _with_digest(path)
            for helm in helms:
                helm.run("lint", "--strict", str(CHART), "-f", "-", text=yaml.safe_dump(values))
            # The pod of helm test is there for seconds: it needs no probes.
            rendered = helms[-1].template(Rendering(values), "--skip-tests").stdout
            (folder / path.name).write_text(rendered, encoding="utf-8")
    say(f"{len(VALUES)} files of values linted by Helm 3 and 4, rendered into {folder}")
    return _run_checkov(checkov, [folder / path.name for path in VALUES if path.stem not in SWITCHED_OFF])


def _with_digest(path: Path) -> Object:
    """Values as a release has them: the operator's image by digest too."""
    values = values_of(path)
    operator = values["images"].setdefault("operator", {})
    operator["digest"] = digest("operator")
    return values


def _install_checkov(root: Path) -> Path:
    place = root / f"checkov-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not place.is_dir():
        need_space(root, UNPACKED_MB, "free some, or name another folder: XDG_CACHE_HOME=/path make chart")
        say("fetching Checkov and what it needs from the package index, 60 MB")
    return publish(place, lambda folder: install_locked(LOCK, folder))


def _run_checkov(place: Path, files: list[Path]) -> int:
    command = [sys.executable, "-P", "-m", "checkov.main", "--framework", "kubernetes", "--skip-download"]
    command += ["--compact", "--quiet", "--skip-check", ",".join(SKIPPED)]
    for path in files:
        command += ["--file", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(place)}
    code = subprocess.run(command, env=environment, check=False).returncode
    say(f"Checkov {'found nothing' if code == 0 else 'complains'} in {len(files)} files")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
