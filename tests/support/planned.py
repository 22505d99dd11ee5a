"""Everything that is planned for a cluster, for tests of what pods look like there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plumbline_api.names import Image
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child
from plumbline_operator.observed import ObjectStore, Runtime, StatusEndpoint
from plumbline_operator.plan.evaluation import plan_evaluation
from plumbline_operator.plan.network import plan_job_policy
from plumbline_operator.plan.serving import plan_front, plan_serving
from plumbline_operator.plan.stages import plan_stage
from tests.support import build
from tests.support.world import key_of

__all__ = ["BUCKET", "CLUSTER", "COMPUTE", "DNS", "VLLM", "evaluation", "pod_templates", "serving", "stage"]

DNS = {"ports": [{"port": 53, "protocol": "UDP"}]}
CLUSTER = replace(
    build.RUNTIME,
    store="file:///plumbline/store",
    store_claim="artifacts",
    service_accounts={Image.TRAINER: "trainer", Image.EVALUATOR: "evaluator", Image.GUARD: "guard"},
    pull_secrets=("registry-login",),
    egress=(DNS,),
    start_deadline=1800,
    beside=True,
    linger=10,
    status_endpoint=StatusEndpoint(
        url="https://plumbline.plumbline-system.svc:8443",
        authority="-----BEGIN CERTIFICATE-----\n",
        addresses=("10.97.0.8",),
        egress=({"ports": [{"port": 8443, "protocol": "TCP"}]},),
    ),
)
"""Settings of a cluster with everything in them."""
BUCKET = replace(
    CLUSTER,
    store="s3://models/plumbline",
    store_claim=None,
    object_store=ObjectStore(
        endpoint="https://objects.internal:9000",
        region="here-1",
        credentials="store-login",
        authority_config_map="site-authority",
    ),
)
"""The same, with an object store."""
COMPUTE: dict[str, Any] = {
    "cpu": "100m",
    "memory": "64Mi",
    "gpu": {"product": "nvidia.com/gpu", "count": 2},
    "nodeSelector": {"pool": "gpus"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
"""A compute block with everything in it."""
VLLM: dict[str, Any] = {"type": "vllm", "args": {"max-model-len": "4096", "enforce-eager": "true"}}
"""The engine of somebody else's."""
MODEL = Input(uri=CLUSTER.store, digest=build.digest("model"))


def stage(runtime: Runtime = CLUSTER, options: dict[str, object] | None = None, **spec: Any) -> tuple[Child, ...]:
    """The children of one stage of a run."""
    run = build.run(options=options, **spec)
    inputs = {"model": MODEL, "dataset": MODEL}
    children = plan_stage(key_of(run), run, run.spec.stages[0], inputs, runtime, attempt=1)
    return (*plan_job_policy(key_of(run), runtime), *children)


def evaluation(runtime: Runtime = CLUSTER, **spec: Any) -> tuple[Child, ...]:
    """The children of one execution of a suite."""
    gate = build.gate(**spec)
    children = plan_evaluation(key_of(gate), gate, build.suite(), MODEL, runtime, attempt=1)
    return (*plan_job_policy(key_of(gate), runtime), *children)


def serving(runtime: Runtime = CLUSTER, **spec: Any) -> tuple[Child, ...]:
    """The children of a served model."""
    wanted = build.inference(**spec)
    key = key_of(wanted)
    return (*plan_front(key, wanted, runtime), *plan_serving(key, wanted, MODEL, GuardRules(), runtime))


def pod_templates(runtime: Runtime = CLUSTER) -> Mapping[str, dict[str, Any]]:
    """The template of every pod there is, plain and with everything that a spec may ask for."""
    made = {
        "stage": stage(runtime),
        "stage, full": stage(runtime, {"timeout": "1h"}, compute=COMPUTE, queue={"name": "q", "priorityClass": "p"}),
        "evaluation": evaluation(runtime),
        "evaluation, full": evaluation(runtime, compute=COMPUTE),
        "serving": serving(runtime),
        "serving, full": serving(runtime, compute=COMPUTE, replicas=2),
    }
    if Image.VLLM in runtime.images:
        made |= {
            "evaluation, vllm": evaluation(runtime, compute=COMPUTE, engine=VLLM),
            "serving, vllm": serving(runtime, compute=COMPUTE, engine=VLLM),
        }
    return {name: children[-1].manifest["spec"]["template"] for name, children in made.items()}
