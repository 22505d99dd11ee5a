"""From a pod template to programs of this machine: paths, variables, ports, what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.reasons import Reason
from plumbline_operator.local.offered import Unplannable
from plumbline_operator.local.podplan import PodPlan, Probe
from plumbline_operator.local.podspec import (
    Place,
    cpu_request,
    declared_ports,
    expand,
    plan_pod,
    replace_paths,
)

MOUNTS = [
    ("/plumbline/run", Path("/s/run")),
    ("/plumbline/work", Path("/s/work")),
    ("/plumbline/run/sub", Path("/sub")),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$A ${A} (A)", "$A ${A} (A)"),
        ("$$$(A)", "$$(A)"),
    ],
)
def test_variables_expand_as_kubernetes_does_it(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/plumbline/run", "/s/run"),
        ("/plumbline/run/run.json", "/s/run/run.json"),
        ("--file=/plumbline/run/run.json", "--file=/s/run/run.json"),
        ("file:///plumbline/work/x", "file:///s/work/x"),
        ("/plumbline/run:/plumbline/work", "/s/run:/s/work"),
        ("/plumbline/run/sub/x", "/sub/x"),
        ("/plumbline/runner", "/plumbline/runner"),
        ("/plumbline/run-2", "/plumbline/run-2"),
        ("/srv/plumbline/run", "/srv/plumbline/run"),
        ("nothing", "nothing"),
    ],
)
def test_mount_paths_become_folders_only_where_they_stand_whole(text: str, expected: str) -> None:
    assert replace_paths(text, MOUNTS) == expected


def test_a_folder_that_looks_like_a_mount_path_is_not_replaced_again() -> None:
    mounts = [("/a", Path("/b")), ("/b", Path("/c"))]
    assert replace_paths("/a /b", mounts) == "/b /c"


def container(**more: Any) -> dict[str, Any]:
    return {"name": "worker", "command": ["prog"], **more}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    program = tmp_path / "prog"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return Place(tmp_path, {"run": tmp_path / "run"}, {"engine": 4711}, {"PATH": str(tmp_path)})


def plan(place: Place, *containers: dict[str, Any], **spec: Any) -> PodPlan:
    return plan_pod({"containers": list(containers), **spec}, place, deadline=None, memory_period=0.1)


def test_a_plan_holds_what_the_manifest_says(place: Place) -> None:
    ports = [{"name": "engine", "containerPort": 8000}]
    probe = {"httpGet": {"path": "/up", "port": "engine"}, "periodSeconds": 2, "failureThreshold": 7}
    side = container(name="side", restartPolicy="Always", ports=ports, startupProbe=probe)
    main = container(args=["$(PLUMBLINE_PORT_ENGINE)"], resources={"limits": {"memory": "2Gi", "cpu": "500m"}})
    made = plan(place, main, initContainers=[side], terminationGracePeriodSeconds=7)
    assert [(one.name, one.sidecar, one.memory) for one in made.containers] == [
        ("side", True, None),
        ("worker", False, 2 << 30),
    ]
    assert made.containers[0].startup == Probe("/up", 4711, 2.0, 7)
    assert made.containers[1].argv == (str(place.folder / "prog"), "4711")
    assert made.grace == 7.0
    assert PodPlan.read(made.write()) == made


def test_the_port_of_this_machine_wins_over_the_clusters(place: Place) -> None:
    env = [{"name": "PLUMBLINE_PORT_ENGINE", "value": "8000"}, {"name": "URL", "value": "x:$(PLUMBLINE_PORT_ENGINE)"}]
    (made,) = plan(place, container(env=env)).containers
    assert (made.env["PLUMBLINE_PORT_ENGINE"], made.env["URL"]) == ("4711", "x:4711")


def test_a_probe_by_number_finds_the_named_port(place: Place) -> None:
    ports = [{"name": "engine", "containerPort": 8000}]
    probe = {"httpGet": {"path": "/up", "port": 8000}}
    (made,) = plan(place, container(ports=ports, startupProbe=probe)).containers
    assert made.startup is not None
    assert made.startup.port == 4711


def test_a_probe_by_number_finds_the_port_of_another_container_of_the_pod(place: Place) -> None:
    ports = [{"name": "engine", "containerPort": 8000}]
    probe = {"httpGet": {"path": "/up", "port": 8000}}
    main, _ = plan(place, container(startupProbe=probe), container(name="engine", ports=ports)).containers
    assert main.startup is not None
    assert main.startup.port == 4711


def test_a_guard_listens_on_loopback_here_whatever_it_does_in_a_pod(place: Place) -> None:
    env = [{"name": "PLUMBLINE_HOST", "value": "0.0.0.0"}]  # noqa: S104
    (made,) = plan(place, container(env=env, args=["--host", "$(PLUMBLINE_HOST)"])).containers
    assert made.argv[1:] == ("--host", "127.0.0.1")


def test_scratch_is_a_folder_of_the_attempt_and_what_lies_in_the_machines_own_tmp_stays_there(place: Place) -> None:
    scratch = replace(place, volumes={"scratch": place.folder / "scratch"})
    env = [{"name": "HOME", "value": "/tmp"}, {"name": "NEAR", "value": "/tmp/x"}]  # noqa: S108
    mounts = [{"name": "scratch", "mountPath": "/tmp"}]  # noqa: S108
    store = "file:///tmp/state/store"
    (made,) = plan(scratch, container(env=env, volumeMounts=mounts, args=["/tmp", store])).containers  # noqa: S108
    assert made.argv[1:] == (str(place.folder / "scratch"), store)
    assert (made.env["HOME"], made.env["NEAR"]) == (str(place.folder / "scratch"), "/tmp/x")  # noqa: S108


@pytest.mark.parametrize(
    "broken",
    [
        container(env=[{"name": "KEY", "valueFrom": {"secretKeyRef": {}}}]),
        container(volumeMounts=[{"name": "secret", "mountPath": "/x"}]),
        container(startupProbe={"exec": {"command": ["x"]}}),
        container(startupProbe={"httpGet": {"port": 9999}}),
    ],
    ids=["a secret", "an unknown volume", "an exec probe", "an undeclared port"],
)
def test_what_this_machine_lacks_is_refused_by_name(place: Place, broken: dict[str, Any]) -> None:
    with pytest.raises(Unplannable, match=r"container worker asks for .* run it on a cluster") as caught:
        plan(place, broken)
    assert caught.value.problem.reason == Reason.UNSUPPORTED_BY_RUNTIME


def test_an_init_container_that_is_no_sidecar_is_refused(place: Place) -> None:
    with pytest.raises(Unplannable, match="container first asks for"):
        plan(place, container(), initContainers=[container(name="first")])


def test_a_missing_program_is_a_bad_configuration(place: Place) -> None:
    with pytest.raises(Unplannable, match="program absent is not installed") as caught:
        plan(place, container(command=["absent"]))
    assert caught.value.problem.reason == Reason.BAD_CONFIGURATION


def test_cpu_requests_add_up_and_limits_stand_in() -> None:
    containers = [
        container(resources={"requests": {"cpu": "1500m"}, "limits": {"cpu": "4"}}),
        container(resources={"limits": {"cpu": "2"}}),
        container(),
    ]
    assert cpu_request({"containers": containers}) == 3.5


def test_ports_are_declared_by_name() -> None:
    ports = [{"name": "engine", "containerPort": 8000}]
    assert declared_ports({"containers": [container()], "initContainers": [container(ports=ports)]}) == ("engine",)
