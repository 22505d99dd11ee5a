"""What serves a guarded model: a Deployment of pods with guard and engine, the Service before the guards. Pure."""

from dataclasses import asdict
from typing import Any, Final

from plumbline_api import names
from plumbline_api.compute import Compute
from plumbline_api.guarded import GuardedInference
from plumbline_api.model import digest_of
from plumbline_api.names import CONTAINER_GUARD, Image, Kind, port_variable, short_hash
from plumbline_api.policyfile import PolicyFile
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child
from plumbline_operator.observed import ChildRef, Key, Runtime
from plumbline_operator.plan.engines import ENGINE_PORTS, engine_content, images_of, plan_engine
from plumbline_operator.plan.network import plan_guard_policy
from plumbline_operator.plan.pods import PodPlan, config_map, container, http_probe, labels, pod_template, port_env

__all__ = ["plan_front", "plan_serving"]

_GUARD: Final = Compute(cpu="500m")
_PORTS: Final = {**ENGINE_PORTS, names.PORT_GUARD: 8080}
_GUARD_PORT: Final = _PORTS[names.PORT_GUARD]
_ANSWER_SECONDS: Final = 60
"""What answers at work get to finish when a pod goes."""
_ENGINE_END_SECONDS: Final = 15
_PROBE_SECONDS: Final = 4
"""More than the guard gives its engine to answer, so that a slow engine is told as one."""


def plan_front(key: Key, wanted: GuardedInference, runtime: Runtime) -> tuple[Child, ...]:
    """What stays from one revision to the next: the Service that clients know, and what protects the pods."""
    own = labels(Kind.GUARDED_INFERENCE, key.name)
    name = f"{key.name}-guard"
    metadata = {"name": name, "namespace": key.namespace, "labels": own}
    port = {"name": "http", "port": 80, "targetPort": names.PORT_GUARD, "protocol": "TCP"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": own, "ports": [port]},
    }
    front = [
        plan_guard_policy(key, runtime, _PORTS[names.PORT_GUARD]),
        Child(ChildRef("Service", name), service),
    ]
    if (wanted.spec.replicas or 1) > 1:
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": own}},
        }
        front.append(Child(ChildRef("PodDisruptionBudget", name), budget))
    return tuple(front)


def plan_serving(
    key: Key, wanted: GuardedInference, subject: Input, rules: GuardRules, runtime: Runtime
) -> tuple[Child, Child]:
    """The policy's ConfigMap and the Deployment; what is to be served otherwise or elsewhere has another name."""
    policy = _policy(key, wanted, subject, rules)
    name = names.child_name(key.name, "serve", _content(wanted, subject, policy, runtime))
    child_labels = labels(Kind.GUARDED_INFERENCE, key.name) | {
        names.LABEL_GATE: wanted.spec.gate.name,
        names.LABEL_SUBJECT: subject.digest.removeprefix("sha256:")[:12],
    }
    data = {names.POLICY_FILE: policy.pretty()}
    return (
        Child(ChildRef("ConfigMap", name), config_map(name, key.namespace, child_labels, data)),
        Child(ChildRef("Deployment", name), _deployment(key, wanted, subject, name, child_labels, runtime)),
    )


def _content(wanted: GuardedInference, subject: Input, policy: PolicyFile, runtime: Runtime) -> str:
    """Digest of what makes a revision. The number of pods is not in it: it changes in place."""
    return digest_of(
        {
            "policy": policy.dump(),
            "model": subject.uri,
            "images": [runtime.images[image] for image in (*images_of(wanted.spec.engine), Image.GUARD)],
            "compute": wanted.spec.compute.of_one_pod(),
            "settings": [runtime.store_claim, runtime.service_accounts.get(Image.GUARD), *runtime.pull_secrets]
            + ([] if runtime.object_store is None else [asdict(runtime.object_store)]),
            # Whom to trust is asked when a model is loaded, so a key that is not trusted any more makes it load again.
            **({} if runtime.trust is None else {"trust": runtime.trust}),
            **engine_content(wanted.spec.engine),
        }
    )


def _deployment(
    key: Key, wanted: GuardedInference, subject: Input, name: str, child_labels: dict[str, str], runtime: Runtime
) -> dict[str, Any]:
    """The Deployment of one revision. Its selector finds its own pods only, also beside another revision's."""
    revision = {names.LABEL_REVISION: short_hash(name)}
    own = wanted.spec.engine
    engine = plan_engine(own, subject, wanted.spec.compute, runtime, max_tokens=own.max_tokens)
    pod = PodPlan(
        made_for=Image.GUARD,
        labels=child_labels | revision,
        containers=[_guard_container(runtime, engine.start_seconds)],
        preparations=engine.preparations,
        # A sidecar, since these end last: a guard that finishes its answers needs its engine for that. Nobody outside
        # the pod reaches it, probes included: whether it serves is what its guard sees. For the same reason it has no
        # startup probe: its guard is started after that has succeeded.
        sidecars=[{**engine.container, "readinessProbe": _readiness("/readyz")}],
        volumes=engine.volumes,
        without_store=engine.without_store,
        config_map=name,
        config_volume="policy",
        grace_seconds=runtime.linger + _ANSWER_SECONDS + _ENGINE_END_SECONDS,
        compute=wanted.spec.compute,
    )
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels(Kind.GUARDED_INFERENCE, key.name) | revision},
        # A pod more than wanted may find no GPU and would then block the others.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "template": pod_template(pod, runtime),
    }
    if wanted.spec.replicas is not None:
        spec["replicas"] = wanted.spec.replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": key.namespace, "labels": child_labels},
        "spec": spec,
    }


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


def _guard_container(runtime: Runtime, start_seconds: int) -> dict[str, Any]:
    upstream = f"http://127.0.0.1:$({port_variable(names.PORT_ENGINE)})"
    command = ["plumbline-guard", "--policy", f"{names.MOUNT_POLICY}/{names.POLICY_FILE}", "--upstream", upstream]
    if runtime.linger:
        command += ["--linger", str(runtime.linger), "--grace", str(_ANSWER_SECONDS)]
    guard = container(
        CONTAINER_GUARD,
        runtime.images[Image.GUARD],
        [*command, "--host", f"$({names.ENV_HOST})", "--port", f"$({port_variable(names.PORT_GUARD)})"],
        compute=_GUARD,
        env=port_env(_PORTS) | {names.ENV_HOST: "0.0.0.0"},  # noqa: S104 - a pod's own network
        ports={names.PORT_GUARD: _PORTS[names.PORT_GUARD]},
        mounts={"policy": names.MOUNT_POLICY},
    )
    startup = http_probe("/healthz", _GUARD_PORT, period=1, failures=start_seconds, timeout=_PROBE_SECONDS)
    return {**guard, "startupProbe": startup, "readinessProbe": _readiness("/healthz")}


def _readiness(path: str) -> dict[str, Any]:
    """A probe of the guard, whosever readiness it is: the kubelet reaches no other port."""
    return http_probe(path, _GUARD_PORT, period=2, failures=2, timeout=_PROBE_SECONDS)
