"""A site's git repository, made from examples/gitops as its README tells, with the team's work made small.

What differs from the example: the repository's address; no replica of the operator, because its image cannot run on a
node of processes; and specs with so few steps that a test can wait. Names, waves, options and projects are the
example's.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from plumbline_api.names import ExitCode
from plumbline_operator.cli.yamltext import write_yaml
from plumbline_operator.main import run_command
from tests.support.checkout import ROOT
from tests.support.small_assistant import write_small_assistant

__all__ = ["EXAMPLE", "TEAM", "Site", "make_site"]

EXAMPLE: Final = ROOT / "examples/gitops"
ADDRESS: Final = "https://git.internal/ai/plumbline-gitops.git"
TEAM: Final = "assistant"
"""The team's folder, its Application and its namespace."""
_NAMES: Final = {
    "small-base": "task-assistant-base",
    "small-attacks": "task-assistant-attacks",
    "small-rules": "task-assistant-rules",
    "small": "task-assistant",
}
_AUTHOR: Final = {
    f"GIT_{role}_{part}": text
    for role in ("AUTHOR", "COMMITTER")
    for part, text in (("NAME", "team"), ("EMAIL", "team@example.internal"))
}

Object = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """A checkout that is its own remote."""

    folder: Path
    store: str

    @property
    def url(self) -> str:
        """Where Argo CD finds it."""
        return self.folder.as_uri()

    @property
    def team(self) -> Path:
        """The folder of the team."""
        return self.folder / "teams" / TEAM

    def commit(self, message: str) -> None:
        """Everything that lies there, as a commit of main."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)

    def read(self, path: str) -> Object:
        """The only object of a file."""
        found: Object = yaml.safe_load((self.folder / path).read_text(encoding="utf-8"))
        return found

    def write(self, path: str, *objects: Object) -> None:
        """A file with these objects; `commit` publishes it."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(write_yaml(objects), encoding="utf-8")

    def push_inputs(self) -> None:
        """`plumbline push --into`: the team's files into the store, and their digests into the repository."""
        words = ["push", "-f", str(self.team), "--store", self.store, "--into", str(self.team / "inputs.yaml")]
        code = run_command([*words, "--namespace", TEAM])
        assert code == ExitCode.OK

    def hold_team_back(self) -> None:
        """Take the team's Application out, until `add_team`."""
        self.application.rename(self.folder.parent / self.application.name)

    def add_team(self) -> None:
        """Lay the team's Application back in; `commit` publishes it."""
        (self.folder.parent / self.application.name).rename(self.application)

    @property
    def application(self) -> Path:
        """The team's Application."""
        return self.folder / "apps/3-assistant.yaml"

    def begin(self) -> None:
        """Make it a repository."""
        self._git("init", "--quiet", "--initial-branch", "main")

    def _git(self, *words: str) -> None:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, **_AUTHOR}
        command = [shutil.which("git") or "git", *words]
        subprocess.run(command, cwd=self.folder, env=kept | settings, check=True, capture_output=True)


def make_site(folder: Path) -> Site:
    """The example with the CRDs and the chart laid in; not committed yet."""
    shutil.copytree(EXAMPLE, folder)
    for path in folder.rglob("*.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace(ADDRESS, folder.as_uri()), encoding="utf-8")
    for path in (ROOT / "crds").glob("*.yaml"):
        shutil.copy(path, folder / "platform/cluster")
    shutil.copytree(ROOT / "charts/plumbline", folder / "platform/plumbline")
    site = Site(folder, (folder.parent / "store").as_uri())
    values = site.read("platform/values.yaml")
    site.write("platform/values.yaml", values | {"operator": {"replicas": 0}, "store": {"claim": {"create": False}}})
    _make_small(site)
    site.begin()
    return site


def _make_small(site: Site) -> None:
    """Specs, data and the untrained model of the small assistant, under the names and the metadata of the example."""
    small = write_small_assistant(site.folder.parent / "small")
    specs = {
        (one["kind"], one["metadata"]["name"]): one for path in sorted(small.glob("*.yaml")) for one in _renamed(path)
    }
    for path in sorted(site.team.glob("*.yaml")):
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        other = specs.pop((body["kind"], body["metadata"]["name"]))
        site.write(str(path.relative_to(site.folder)), {**other, "metadata": body["metadata"]})
    assert not specs, f"the example has no {specs}"
    for name in ("init", "data"):
        shutil.copytree(small / name, site.team / name)


def _renamed(path: Path) -> list[Object]:
    return [_rename(document) for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def _rename(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rename(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rename(part) for part in value]
    return _NAMES.get(value, value) if isinstance(value, str) else value
