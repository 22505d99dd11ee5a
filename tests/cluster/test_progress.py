"""Progress on a real API server, with real tokens and reviews: who may report, how much, and what is told of it."""

import ast
import asyncio
import importlib.util
import logging
import os
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plumbline_api.names import Kind, status_audience, status_path
from plumbline_operator.kube.api.client import KubeClient as KubeApi
from plumbline_operator.kube.assembly import NotPermitted, Operator
from plumbline_operator.kube.permissions import NEEDED_FOR_REVIEWS, needed_for_authority
from plumbline_operator.kube.settings import KubeSettings
from tests.cluster.client import NAMESPACES, SERVICE_ACCOUNTS, KubeClient, Object, Resource
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply,
    apply_inputs,
    condition_of,
    connect,
    finish_job,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.cluster.reporting import Reporter, begin, expired, report, reporting, token_for
from tests.cluster.roles import give_role
from tests.support import build

pytestmark = pytest.mark.cluster

RUN = Kind.ALIGNMENT_RUN
RUNS = KINDS[RUN]
SECRETS = Resource("", "v1", "secrets")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", namespaced=False)
CLUSTER_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", namespaced=False)


def kubeflow_callback() -> Any:
    """What transformers reports with: its own source, alone, because the whole takes torch and many seconds."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).with_name("integrations") / "integration_utils.py"
    wanted = ("is_kubeflow_available", "KubeflowCallback")
    parts = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") in wanted]
    names: dict[str, Any] = {"os": os, "TrainerCallback": object, "logger": logging.getLogger("transformers")}
    exec(compile(ast.Module(parts, []), str(path), "exec"), names)  # noqa: S102 - that is the point
    return names["KubeflowCallback"]()


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


@pytest.fixture(name="operator")
async def operator_at_work(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Operator]:
    login = connect(control_plane)
    async with running_operator(login, namespace, progress=reporting(namespace)) as operator:
        yield operator


async def start(plane: ControlPlane, kube: KubeClient, namespace: str, name: str = "base") -> Reporter:
    """A run whose only pod is at work."""
    await apply_inputs(kube, namespace)
    await apply(kube, namespace, build.run(name))
    run = await kube.until(RUNS, name, namespace, lambda thing: stage(thing).get("job"), 60)
    reporter = await begin(plane, kube, namespace, stage(run)["job"])
    await kube.until(RUNS, name, namespace, lambda thing: stage(thing)["state"] == "Running", 60)
    return reporter


def stage(run: Object) -> Object:
    """The only stage of a run, as its status has it."""
    rows = (run.get("status") or {}).get("stages") or [{}]
    return dict(rows[0])


def progress(run: Object) -> Object:
    return dict(stage(run).get("progress") or {})


def reviewed(operator: Operator) -> float:
    """How often the API server was asked for a token."""
    labels = {"verb": "create", "resource": "tokenreviews.authentication.k8s.io", "code": "201"}
    return operator.metrics.registry.get_sample_value("plumbline_api_requests_total", labels) or 0.0


# Reporting


async def test_what_a_pod_reports_is_in_the_status_and_not_written_more_often_than_it_may(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator
) -> None:
    reporter = await start(control_plane, kube, namespace)
    loop, percentage = asyncio.get_running_loop(), 0
    moments: list[float] = []
    shown: Object = {}
    while len(moments) < 2:
        percentage += 1
        answer = await reporter.post(operator, report(percentage, loss=0.5, current_step=percentage))
        assert answer.code in (200, 429), answer
        run = await kube.get(RUNS, "base", namespace)
        if progress(run) != shown:
            moments.append(loop.time())
            shown = progress(run)
        await asyncio.sleep(0.4)
    assert moments[1] - moments[0] > 14, "15 seconds, less what it takes to see it"
    assert shown["progressPercentage"] > 10
    assert {"name": "loss", "value": "0.5"} in shown["metrics"]
    assert {"name": "step", "value": str(shown["progressPercentage"])} in shown["metrics"]
    assert abs(datetime.fromisoformat(shown["lastUpdatedTime"]) - datetime.now(UTC)) < timedelta(seconds=30)
    assert reviewed(operator) == 1, "an answer counts for a minute"
    await finish_job(kube, namespace, reporter.pod["metadata"]["labels"]["job-name"], build.training_summary("made"))
    await status_where(kube, namespace, RUN, "base", phase="Succeeded", seconds=10)


async def test_transformers_reports_by_itself(
    control_plane: ControlPlane,
    kube: KubeClient,
    namespace: str,
    operator: Operator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reporter = await start(control_plane, kube, namespace)
    (tmp_path / "ca.crt").write_text(reporter.authority)
    (tmp_path / "token").write_text(reporter.token)
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", reporter.url(operator))
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_CA_CERT", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(tmp_path / "token"))
    callback = kubeflow_callback()
    callback._MIN_UPDATE_INTERVAL = 0.0
    state = SimpleNamespace(is_world_process_zero=True, max_steps=8, global_step=2, epoch=0.25)
    await asyncio.to_thread(callback.on_train_begin, None, state, None)
    assert await asyncio.to_thread(callback._update_status, progress_percent=1)
    callback.on_log(None, state, None, logs={"loss": 1.25, "note": "no number"})
    await asyncio.to_thread(callback.on_step_end, None, state, None)
    assert operator.metrics.registry.get_sample_value("plumbline_progress_reports_total", {"code": "200"}) == 3
    assert operator.progress is not None
    newest = operator.progress.newest(namespace, reporter.pod["metadata"]["labels"]["job-name"])
    assert newest is not None
    assert newest.progress_percentage == 25
    assert (newest.number("step"), newest.number("maxSteps"), newest.number("loss")) == (2.0, 8.0, 1.25)


# Who may


async def test_nobody_but_a_pod_of_the_job_may_report(
    control_plane: ControlPlane,
    kube: KubeClient,
    namespace: str,
    operator: Operator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    one = await start(control_plane, kube, namespace)
    other = await start(control_plane, kube, namespace, "other")
    job = one.pod["metadata"]["labels"]["job-name"]
    audience = status_audience(namespace, job)
    elsewhere = f"{namespace}-else"
    await kube.create(NAMESPACES, {"metadata": {"name": elsewhere}})
    await kube.until(SERVICE_ACCOUNTS, "default", elsewhere, lambda _: True)
    stranger = await asyncio.to_thread(control_plane.service_account_token, elsewhere, "default", [audience])
    server = await asyncio.to_thread(control_plane.service_account_token, namespace, "default")
    tokens = {
        "a token for the API server": (server, 401),
        "the token of another Job": (other.token, 401),
        "a token of another Job's pod, made for this one": (await token_for(control_plane, other.pod, audience), 403),
        "a token that is bound to no pod": (await token_for(control_plane, one.pod, audience, bound=False), 403),
        "a token of another namespace": (stranger, 403),
        "an expired token": (expired(control_plane, one.token), 401),
        "a token with another signature": (one.token[:-20] + "A" * 20, 401),
    }
    for name, (token, code) in tokens.items():
        answer = await one.post(operator, Authorization=f"Bearer {token}")
        assert answer.code == code, name
    before = reviewed(operator)
    for header in ("", "Bearer", "Bearer ", "Basic abc", "Bearer nonsense", f"bearer {one.token}", "Bearer a.b.c d"):
        assert (await one.post(operator, Authorization=header)).code == 401, header
    assert before == reviewed(operator) <= 3, "what claims nothing is not asked for"
    assert (await one.post(operator)).code == 200, "a pod of the Job"
    assert not [token for token, _ in [*tokens.values(), (one.token, 200)] if token in caplog.text]
    assert "trainerStatus" not in caplog.text
    await kube.delete(NAMESPACES, elsewhere)


async def test_unknown_tokens_cost_the_api_server_little(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator
) -> None:
    reporter = await start(control_plane, kube, namespace)
    assert (await reporter.post(operator)).code == 200
    made_up = [f"Bearer {reporter.token[:-20]}{number:020}" for number in range(40)]
    answers = await asyncio.gather(*(reporter.post(operator, Authorization=header) for header in made_up))
    assert {answer.code for answer in answers} == {401, 429}
    assert reviewed(operator) <= 6
    assert (await reporter.post(operator)).code == 200, "who is known is not kept out"


async def test_the_limits_of_a_report(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator
) -> None:
    reporter = await start(control_plane, kube, namespace)
    assert (await reporter.post(operator, b" " * 9000)).code == 413
    assert (await reporter.post(operator, report(1, **{f"m{number}": "1" * 60 for number in range(80)}))).code == 200
    refused = await reporter.post(operator, b'{"trainerStatus": {"progressPercentage": "secret words"}}')
    assert (refused.code, "secret" in refused.text) == (400, False)
    assert (await reporter.post(operator, path=status_path(namespace, "none"))).code == 404
    assert (await reporter.post(operator, path="/apis")).code == 404
    answers = [await reporter.post(operator) for _ in range(15)]
    assert {answer.code for answer in answers} == {200, 429}
    assert all(answer.headers["Retry-After"] == "1" for answer in answers if answer.code == 429)
    assert operator.metrics.registry.get_sample_value("plumbline_progress_reports_total", {"code": "413"}) == 1
    # The metrics beyond the limit were dropped, and the API server takes what is left.
    run = await kube.until(RUNS, "base", namespace, progress)
    assert progress(run)["progressPercentage"] == 1


# Certificate, replicas, restart


async def test_pods_go_on_reporting_to_an_operator_that_was_started_anew(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    login = connect(control_plane)
    settings: dict[str, Any] = {"progress": reporting(namespace), "lease_namespace": namespace}
    async with running_operator(login, namespace, **settings) as first:
        reporter = await start(control_plane, kube, namespace)
        assert (await reporter.post(first, report(40))).code == 200
        await kube.until(RUNS, "base", namespace, progress)
        second = Operator(first.settings, connect=lambda count: KubeApi(login, count=count))
        await second.start()
        try:
            answer = await reporter.post(second, report(41))
            assert (answer.code, answer.headers["Retry-After"]) == (503, "1"), "it does not do the work"
        finally:
            await second.stop()
    async with running_operator(login, namespace, **settings) as third:
        run = await kube.get(RUNS, "base", namespace)
        assert progress(run)["progressPercentage"] == 40, "what was told stays in the status"
        assert stage(run)["state"] == "Running"
        assert (await reporter.post(third, report(42))).code == 200
        await kube.until(RUNS, "base", namespace, lambda run: progress(run).get("progressPercentage") == 42)
    (secret,) = await kube.items(SECRETS, namespace, "app.kubernetes.io/managed-by=plumbline")
    assert secret["metadata"]["name"] == "plumbline-progress"


async def test_two_replicas_that_start_at_once_have_one_authority(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    login = connect(control_plane)
    async with (
        running_operator(login, namespace, progress=reporting(namespace)) as one,
        running_operator(login, namespace, progress=reporting(namespace)) as two,
    ):
        assert one.progress is not None
        assert two.progress is not None
        assert one.progress.certificates.authority == two.progress.certificates.authority != ""
        trusting = ssl.create_default_context(cadata=one.progress.certificates.authority)
        for port in (one.progress.server.port, two.progress.server.port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            writer.close()


# Silence


async def test_a_run_whose_pod_stops_reporting_says_so_and_takes_it_back(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    ahead = timedelta()

    def now() -> datetime:
        return datetime.now(UTC) + ahead

    login = connect(control_plane)
    async with running_operator(login, namespace, now=now, progress=reporting(namespace)) as operator:
        reporter = await start(control_plane, kube, namespace)
        assert (await reporter.post(operator, report(7))).code == 200
        await kube.until(RUNS, "base", namespace, progress)
        ahead = timedelta(minutes=6)
        (key,) = operator.cache.keys()
        operator.queue.add(key)
        run = await kube.until(RUNS, "base", namespace, lambda run: stage(run)["reason"] == "NotReporting")
        assert (run["status"]["phase"], progress(run)["progressPercentage"]) == ("Running", 7)
        for condition in ("Ready", "Reconciling"):
            assert condition_of(run, condition)["reason"] == "NotReporting"
            assert "has reported no progress since" in condition_of(run, condition)["message"]
        assert (await reporter.post(operator, report(8))).code == 200
        run = await kube.until(RUNS, "base", namespace, lambda run: stage(run)["reason"] == "Running")
        assert condition_of(run, "Reconciling")["message"] == "stage s0 (sft) is running"
        assert progress(run)["progressPercentage"] == 8


# Rights


async def review_role(kube: KubeClient, user: str) -> None:
    """Let a user review tokens."""
    rule = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}}
    await kube.create(CLUSTER_ROLES, {**about, "rules": [rule]})
    role = {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": user}
    subject = {"apiGroup": CLUSTER_ROLES.group, "kind": "User", "name": user}
    await kube.create(CLUSTER_BINDINGS, {**about, "roleRef": role, "subjects": [subject]})


async def test_the_tables_are_all_that_reporting_needs(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    user = f"operator-{namespace}"
    await give_role(kube, namespace, user, more=needed_for_authority("plumbline-progress"))
    login = connect(control_plane, control_plane.authority.issue(user))
    settings: dict[str, Any] = {"progress": reporting(namespace), "lease_namespace": namespace}
    lacking = Operator(
        KubeSettings(build.RUNTIME, namespaces=(namespace,), **settings),
        connect=lambda count: KubeApi(login, count=count),
    )
    with pytest.raises(NotPermitted) as refused:
        await lacking.check()
    await lacking.client.close()
    assert refused.value.missing == (f"{NEEDED_FOR_REVIEWS[0]} in all namespaces",)
    await review_role(kube, user)
    async with running_operator(login, namespace, **settings) as operator:
        await operator.check()
        reporter = await start(control_plane, kube, namespace)
        assert (await reporter.post(operator)).code == 200
    await kube.delete(CLUSTER_BINDINGS, user)
    await kube.delete(CLUSTER_ROLES, user)
