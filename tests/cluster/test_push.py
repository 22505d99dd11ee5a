"""`plumbline push` to a real API server, with the rights that it says it needs; the operator finds what was pushed."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_api.model import Document
from plumbline_api.names import INPUTS_CONFIG_MAP, INPUTS_KEY, ExitCode, Kind
from plumbline_operator.cli.yamltext import write_yaml
from plumbline_operator.kube.tables import ServedTables
from plumbline_operator.main import run_command
from plumbline_store import open_store
from tests.cluster.client import CONFIG_MAPS, KubeClient, Resource
from tests.cluster.commands import run_kubectl
from tests.cluster.controlplane import ControlPlane
from tests.cluster.operating import apply, connect, jobs_of, running_operator, serve_kinds, status_where
from tests.cluster.reservation import ReservedPort
from tests.support import build

pytestmark = pytest.mark.cluster

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
THEIRS = {"theirs": build.digest("theirs")}


def manifest(thing: Document) -> str:
    """A manifest that names no namespace."""
    body = thing.dump()
    body["metadata"].pop("namespace", None)
    return write_yaml([body])


@pytest.fixture
async def place(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a manifest and its files, and the kubeconfig of somebody who may write ConfigMaps there."""
    (tmp_path / "init").mkdir()
    (tmp_path / "init/config.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text("{}\n")
    (tmp_path / "run.yaml").write_text(manifest(build.run()))
    user = f"pusher-{namespace}"
    await let_write(kube, namespace, user, "get", "create", "update")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(control_plane.user_kubeconfig(user, namespace=namespace)))
    monkeypatch.setenv("PLUMBLINE_STORE", (tmp_path / "store").as_uri())
    return tmp_path


async def let_write(kube: KubeClient, namespace: str, user: str, *verbs: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": list(verbs)}]
    await kube.apply(ROLES, _body("Role", rules=rules), namespace, force=True)
    role = {"apiGroup": ROLES.group, "kind": "Role", "name": "pusher"}
    subjects = [{"apiGroup": ROLES.group, "kind": "User", "name": user}]
    await kube.apply(BINDINGS, _body("RoleBinding", roleRef=role, subjects=subjects), namespace, force=True)


def _body(kind: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "pusher"}, **more}


async def push(*options: str) -> int:
    return await asyncio.to_thread(run_command, ["push", "-f", "run.yaml", *options])


async def table(kube: KubeClient, namespace: str) -> dict[str, str]:
    found = await kube.find(CONFIG_MAPS, INPUTS_CONFIG_MAP, namespace)
    return {} if found is None else dict(yaml.safe_load(found["data"][INPUTS_KEY]))


async def keep(kube: KubeClient, namespace: str, entries: dict[str, str]) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": INPUTS_CONFIG_MAP, "labels": {"team": "a"}}}
    data = {INPUTS_KEY: yaml.safe_dump(entries), "notes": "by hand"}
    await kube.apply(CONFIG_MAPS, {**body, "data": data}, namespace, force=True)


async def test_the_operator_finds_what_was_pushed(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, place: Path
) -> None:
    await serve_kinds(kube)
    async with running_operator(connect(control_plane), namespace):
        await apply(kube, namespace, build.run())
        await status_where(kube, namespace, Kind.ALIGNMENT_RUN, "base", observedGeneration=1)
        assert await push("--apply") == ExitCode.OK
        (job,) = await jobs_of(kube, namespace)
        run_map = job["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
        run_file = (await kube.get(CONFIG_MAPS, run_map, namespace))["data"]["run.json"]
    known = await table(kube, namespace)
    assert known.keys() == {"init", "data.jsonl"}
    assert all(digest in run_file for digest in known.values())
    store = open_store((place / "store").as_uri())
    for digest in known.values():
        store.verify(digest)


@pytest.mark.usefixtures("place")
async def test_pushing_keeps_the_entries_of_others_and_writes_only_what_is_new(
    kube: KubeClient, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await keep(kube, namespace, THEIRS)
    assert await push("--apply") == ExitCode.OK
    assert f"of namespace {namespace}: 2 new, 0 changed, 1 as they were" in capsys.readouterr().out
    found = await kube.get(CONFIG_MAPS, INPUTS_CONFIG_MAP, namespace)
    assert (found["data"]["notes"], found["metadata"]["labels"]) == ("by hand", {"team": "a"})
    assert (await table(kube, namespace)).items() >= THEIRS.items()
    assert await push("--apply") == ExitCode.OK
    assert (await kube.get(CONFIG_MAPS, INPUTS_CONFIG_MAP, namespace))["metadata"] == found["metadata"]


async def test_people_who_push_at_once_lose_nothing(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, place: Path
) -> None:
    """Seven people, one ConfigMap: whoever is overtaken looks again."""
    tables = ServedTables(connect(control_plane))
    words = [f"path-{number}" for number in range(6)]
    await asyncio.gather(
        *(asyncio.to_thread(tables.extend, namespace, {word: build.digest(word)}) for word in words[:3]),
        push("--apply"),
        *(asyncio.to_thread(tables.extend, namespace, {word: build.digest(word)}) for word in words[3:]),
    )
    assert (await table(kube, namespace)).keys() == {*words, "init", "data.jsonl"}


@pytest.mark.usefixtures("place")
async def test_what_is_printed_can_be_applied_with_kubectl(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await keep(kube, namespace, THEIRS)
    assert await push() == ExitCode.OK
    said = capsys.readouterr()
    assert "2 new, 0 changed, 1 as they were" in said.err
    assert await table(kube, namespace) == THEIRS
    command = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    await asyncio.to_thread(run_kubectl, control_plane, *command, text=said.out)
    assert (await table(kube, namespace)).keys() == {"theirs", "init", "data.jsonl"}


async def test_without_rights_nothing_is_uploaded_and_the_missing_one_is_named(
    kube: KubeClient, namespace: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await let_write(kube, namespace, f"pusher-{namespace}", "list")
    assert await push("--apply") == ExitCode.NOT_PERMITTED
    said = capsys.readouterr().err
    assert f"get configmaps {INPUTS_CONFIG_MAP} in namespace {namespace}" in said
    assert "get a role with get, create and update on ConfigMaps there" in said
    assert not (place / "store").exists()


@pytest.mark.usefixtures("place")
async def test_a_namespace_that_does_not_exist_is_told_with_the_command_that_makes_it(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    assert await push("--apply", "-n", "nowhere") == ExitCode.BAD_SPEC
    assert "create it: kubectl create namespace nowhere" in capsys.readouterr().err


async def test_a_server_out_of_reach_is_told_before_anything_is_uploaded(
    control_plane: ControlPlane, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig, away = control_plane.kubeconfig, place / "away.kubeconfig"
    nobody = ReservedPort()
    away.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{nobody.number}", kubeconfig.read_text()))
    monkeypatch.setenv("KUBECONFIG", str(away))
    assert await push("--apply") == ExitCode.UNAVAILABLE
    nobody.release()
    assert "see that the server in KUBECONFIG is reached from here" in capsys.readouterr().err
    assert not (place / "store").exists()
