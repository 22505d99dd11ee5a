"""The Deployment of a guarded model: guard and engine in one pod, the engine on loopback. Pure."""

from plumbline_api import names
from plumbline_api.alignment import Compute
from plumbline_api.guarded import GuardedInference
from plumbline_api.model import digest_of
from plumbline_api.names import CONTAINER_GUARD, Image, Kind, port_variable
from plumbline_api.policyfile import PolicyFile
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child
from plumbline_operator.observed import ChildRef, Key, Runtime
from plumbline_operator.plan.pods import config_map, container, engine_container, http_probe, labels, port_env

__all__ = ["plan_serving"]

_GUARD = Compute(cpu="500m")
_PORTS = {names.PORT_ENGINE: 8000, names.PORT_GUARD: 8080}
_START_SECONDS = 600


def plan_serving(
    key: Key, wanted: GuardedInference, subject: Input, rules: GuardRules, runtime: Runtime
) -> tuple[Child, Child]:
    """The policy's ConfigMap and the Deployment; another policy, model or image gives another name."""
    policy = _policy(key, wanted, subject, rules)
    images = [runtime.images[image] for image in (Image.ENGINE, Image.GUARD)]
    content = digest_of({"policy": policy.dump(), "images": images, "compute": wanted.spec.compute.dump()})
    name = names.child_name(key.name, "serve", content)
    child_labels = labels(Kind.GUARDED_INFERENCE, key.name) | {
        names.LABEL_GATE: wanted.spec.gate.name,
        names.LABEL_SUBJECT: subject.digest.removeprefix("sha256:")[:12],
    }
    engine = engine_container(
        runtime.images[Image.ENGINE],
        subject.uri,
        subject.digest,
        wanted.spec.compute,
        max_tokens=wanted.spec.engine.max_tokens,
    )
    template = {
        "metadata": {"labels": child_labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 30,
            "containers": [_guard_container(runtime), _probed(engine, "/health", names.PORT_ENGINE)],
            "volumes": [{"name": "policy", "configMap": {"name": name}}, {"name": "work", "emptyDir": {}}],
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": key.namespace, "labels": child_labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {names.LABEL_OWNER: key.name, names.LABEL_OWNER_KIND: key.kind.value}},
            "template": template,
        },
    }
    data = {names.POLICY_FILE: policy.pretty()}
    return (
        Child(ChildRef("ConfigMap", name), config_map(name, key.namespace, child_labels, data)),
        Child(ChildRef("Deployment", name), deployment),
    )


def _policy(key: Key, wanted: GuardedInference, subject: Input, rules: GuardRules) -> PolicyFile:
    guard = wanted.spec.guard
    return PolicyFile(
        model=key.name,
        subject=subject.digest,
        rules=rules.rules,
        refusal=guard.refusal.text,
        system_prompt=guard.system_prompt,
        limits=guard.limits,
        max_tokens=wanted.spec.engine.max_tokens,
    )


def _guard_container(runtime: Runtime) -> dict[str, object]:
    upstream = f"http://127.0.0.1:$({port_variable(names.PORT_ENGINE)})"
    command = ["plumbline-guard", "--policy", f"{names.MOUNT_POLICY}/{names.POLICY_FILE}", "--upstream", upstream]
    guard = container(
        CONTAINER_GUARD,
        runtime.images[Image.GUARD],
        [*command, "--port", f"$({port_variable(names.PORT_GUARD)})"],
        compute=_GUARD,
        env=port_env(_PORTS),
        ports={names.PORT_GUARD: _PORTS[names.PORT_GUARD]},
        mounts={"policy": names.MOUNT_POLICY},
    )
    return _probed(guard, "/readyz", names.PORT_GUARD)


def _probed(made: dict[str, object], path: str, port: str) -> dict[str, object]:
    return {
        **made,
        "startupProbe": http_probe(path, port, period=1, failures=_START_SECONDS),
        "readinessProbe": http_probe(path, port, period=2, failures=2),
    }
