"""Control planes come and go: beside each other, restarted, killed with their owner; they leave nothing behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.client import CONFIG_MAPS, JOBS, NAMESPACES, PODS, ApiError, KubeClient, eventually
from tests.cluster.controlplane import ControlPlane, ControlPlaneError, Options, control_plane
from tests.cluster.objects import config_map, job
from tests.cluster.programs import Programs
from tests.support.checkout import ROOT

pytestmark = pytest.mark.cluster


def gone(pid: int) -> bool:
    """Whether a process has ended, taken leave of or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(holds: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def other(programs: Programs) -> Iterator[ControlPlane]:
    """A control plane that these tests may mistreat, with an audit log and a feature switched off."""
    options = Options(api=("--feature-gates=WatchList=false",), audit="Metadata")
    with control_plane(programs, options) as plane:
        yield plane


@pytest.fixture
async def there(other: ControlPlane) -> AsyncIterator[KubeClient]:
    async with other.client() as client:
        yield client


async def test_two_control_planes_know_nothing_of_each_other(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, other: ControlPlane, there: KubeClient
) -> None:
    assert await kube.find(NAMESPACES, namespace) is not None
    assert await there.find(NAMESPACES, namespace) is None
    pids = [part.pid for plane in (control_plane, other) for part in plane.components]
    assert len({*pids, control_plane.port, other.port}) == 10
    # Whoever shows a certificate of the other's authority is nobody here.
    async with control_plane.client(other.admin) as stranger:
        with pytest.raises(ApiError) as refused:
            await stranger.items(CONFIG_MAPS, "default")
    assert refused.value.status == HTTPStatus.UNAUTHORIZED


async def test_the_audit_log_names_who_did_what(other: ControlPlane, there: KubeClient) -> None:
    await there.create(CONFIG_MAPS, config_map("audited"), "default")
    ours = [event for event in other.audit_events() if event.get("objectRef", {}).get("name") == "audited"]
    assert [(event["user"]["username"], event["verb"]) for event in ours] == [("admin", "create")]


async def test_flags_reach_the_api_server(there: KubeClient) -> None:
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    with pytest.raises(ApiError, match="unless the WatchList feature gate is enabled"):
        await anext(there.watch(CONFIG_MAPS, "default", **query))


async def test_objects_outlive_the_api_server_however_it_ends(other: ControlPlane, there: KubeClient) -> None:
    made = await there.create(CONFIG_MAPS, config_map("kept", day="one"), "default")
    before = other.api.pid
    for end, code in ((other.api.kill, -signal.SIGKILL), (other.api.stop, 0)):
        assert end() == code
        with pytest.raises(ConnectionRefusedError):
            other.caller.call("GET", "/readyz")
        other.api.start()
        await asyncio.to_thread(other.wait_ready)
    assert other.api.pid != before
    assert (await there.get(CONFIG_MAPS, "kept", "default"))["metadata"]["uid"] == made["metadata"]["uid"]
    # The controllers have found the new server, or no pod would be made.
    await there.create(JOBS, job("after"), "default")
    assert await eventually(lambda: there.items(PODS, "default", "job-name=after"))


async def test_a_write_waits_while_etcd_is_paused(other: ControlPlane, there: KubeClient) -> None:
    other.etcd.pause()
    write = asyncio.create_task(there.create(CONFIG_MAPS, config_map("late"), "default"))
    try:
        done, _ = await asyncio.wait([write], timeout=1.0)
        assert not done
    finally:
        other.etcd.resume()
    assert (await write)["metadata"]["name"] == "late"


def test_a_component_that_cannot_start_says_why(programs: Programs) -> None:
    with (
        pytest.raises(ControlPlaneError, match=r"(?s)kube-apiserver ended with 1.*--no-such-flag") as told,
        control_plane(programs, Options(api=("--no-such-flag",))),
    ):
        pass
    assert "etcd (process" in str(told.value)


OWNER = """
import json, signal, sys, time
# Who runs the tests in the background may have told them to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.cluster.controlplane import control_plane
from tests.cluster.objects import config_map, job
from tests.cluster.programs import find_programs
with control_plane(find_programs()) as plane:
    if sys.argv[1] == "with etcd paused":
        plane.etcd.pause()
    print(json.dumps({"pids": [part.pid for part in plane.components], "folder": str(plane.folder)}), flush=True)
    time.sleep(600)
"""


@contextmanager
def owner(state: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Another process with a control plane of its own, and what it has."""
    settings = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", OWNER, state]
    with subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_a_killed_owner_leaves_no_process_behind(programs: Programs, tmp_path: Path) -> None:
    with owner("with etcd paused", tmp_path) as (process, has):
        assert not any(map(gone, has["pids"]))
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: all(map(gone, has["pids"])))
        assert Path(has["folder"]).is_dir()
    with owner("running", tmp_path):
        assert not Path(has["folder"]).exists()


def test_an_interrupted_owner_takes_everything_down(programs: Programs, tmp_path: Path) -> None:
    with owner("running", tmp_path) as (process, has):
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert all(map(gone, has["pids"]))
    assert not list(tmp_path.iterdir())
