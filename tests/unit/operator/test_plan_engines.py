"""vLLM in a pod: what is there before it, what it is told, what it can touch; and what its options change."""

from dataclasses import replace
from typing import Any

import pytest

from plumbline_api.engine import Engine
from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_MODEL, MOUNT_MODEL, MOUNT_SCRATCH, Image
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.engines import software_of
from tests.support import build, planned

Manifest = dict[str, Any]
MODEL = build.digest("model")
SHARED = "/dev/shm"  # noqa: S108 - a volume of the pod's own
PLANS = {"evaluation": planned.evaluation, "serving": planned.serving}
each_pod = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def pod(plan: Any, runtime: Runtime = planned.CLUSTER, **spec: Any) -> Manifest:
    """The pod's spec, with vLLM."""
    template = plan(runtime, **({"engine": planned.VLLM} | spec))[-1].manifest["spec"]["template"]
    return dict(template["spec"])


def container(spec: Manifest, name: str) -> Manifest:
    (found,) = [one for one in (*spec["initContainers"], *spec["containers"]) if one["name"] == name]
    return dict(found)


@each_pod
def test_the_model_is_checked_out_by_a_container_that_ends_before_the_engine_starts(plan: Any) -> None:
    spec = pod(plan)
    assert [one["name"] for one in spec["initContainers"]] == [CONTAINER_MODEL, CONTAINER_ENGINE]
    first, second = spec["initContainers"]
    assert ("restartPolicy" in first, second["restartPolicy"]) == (False, "Always")
    assert first["image"] == planned.CLUSTER.images[Image.EVALUATOR]
    command = [*first["command"], *first["args"]]
    assert command[:2] == ["plumbline-evaluator", "checkout"]
    assert command[2:] == ["--model", planned.CLUSTER.store, "--digest", MODEL, "--into", "/plumbline/model/files"]


@each_pod
def test_vllm_serves_that_folder_on_loopback_under_the_digest(plan: Any) -> None:
    engine = container(pod(plan), CONTAINER_ENGINE)
    assert engine["image"] == planned.CLUSTER.images[Image.VLLM]
    where = ["serve", "/plumbline/model/files", "--host", "127.0.0.1", "--port", "$(PLUMBLINE_PORT_ENGINE)"]
    assert engine["command"] == ["vllm"]
    assert engine["args"] == [*where, "--served-model-name", MODEL, "--enforce-eager", "--max-model-len=4096"]


@each_pod
def test_vllm_reads_its_model_and_writes_scratch_and_nothing_else(plan: Any) -> None:
    engine = container(pod(plan), CONTAINER_ENGINE)
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in engine["volumeMounts"]}
    assert mounts == {MOUNT_MODEL: True, MOUNT_SCRATCH: False, SHARED: False}
    assert not [entry for entry in engine["env"] if "valueFrom" in entry]


@each_pod
def test_vllm_asks_nobody_outside_and_has_a_name_for_its_user(plan: Any) -> None:
    told = {entry["name"]: entry["value"] for entry in container(pod(plan), CONTAINER_ENGINE)["env"]}
    assert {name: told[name] for name in ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")} == {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    assert told["LOGNAME"] == told["USER"] == "plumbline"
    assert told["HOME"] == MOUNT_SCRATCH


@each_pod
def test_gpus_are_the_engines_alone_and_several_work_together(plan: Any) -> None:
    spec = pod(plan, compute=planned.COMPUTE)
    asking = [
        one["name"]
        for one in (*spec["initContainers"], *spec["containers"])
        if "nvidia.com/gpu" in one["resources"]["limits"]
    ]
    assert asking == [CONTAINER_ENGINE]
    engine = container(spec, CONTAINER_ENGINE)
    at = engine["args"].index("--tensor-parallel-size")
    assert engine["args"][at + 1] == "2"


@each_pod
def test_vllms_processes_share_memory(plan: Any) -> None:
    spec = pod(plan)
    mounts = {mount["mountPath"]: mount["name"] for mount in container(spec, CONTAINER_ENGINE)["volumeMounts"]}
    (volume,) = [one for one in spec["volumes"] if one["name"] == mounts[SHARED]]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


@each_pod
def test_one_gpu_needs_no_parallelism(plan: Any) -> None:
    spec = pod(plan, compute=planned.COMPUTE | {"gpu": {"product": "nvidia.com/gpu", "count": 1}})
    engine = container(spec, CONTAINER_ENGINE)
    assert "--tensor-parallel-size" not in engine["args"]


@each_pod
def test_our_own_engine_is_planned_as_before_and_needs_no_image_of_vllms(plan: Any) -> None:
    with_it, without = planned.CLUSTER, replace(planned.CLUSTER, images=without_vllm())
    assert plan(with_it) == plan(without)
    spec = plan(without)[-1].manifest["spec"]["template"]["spec"]
    assert [one["name"] for one in spec["initContainers"]] == [CONTAINER_ENGINE]


def without_vllm() -> dict[Image, str]:
    """The images of an installation that names none for vLLM."""
    return {image: reference for image, reference in build.RUNTIME.images.items() if image.required}


def test_a_switch_is_on_or_off_and_the_order_of_the_manifest_does_not_matter() -> None:
    args = {"seed": "7", "enable-prefix-caching": "false", "dtype": "bfloat16"}
    options = ("--dtype=bfloat16", "--no-enable-prefix-caching", "--seed=7")
    for given in (args, dict(reversed(args.items()))):
        assert Engine.parse({"type": "vllm", "args": given}).options == options


@pytest.mark.parametrize("image", [Image.VLLM, Image.EVALUATOR])
@each_pod
def test_another_image_of_the_engine_or_before_it_makes_other_children(plan: Any, image: Image) -> None:
    other = replace(planned.CLUSTER, images={**planned.CLUSTER.images, image: f"x/y@{build.digest('other')}"})
    assert name(plan, planned.CLUSTER) != name(plan, other)


@each_pod
def test_another_engine_or_option_makes_other_children(plan: Any) -> None:
    more = {"type": "vllm", "args": {**planned.VLLM["args"], "seed": "7"}}
    engines: list[dict[str, Any]] = [{}, {"type": "vllm"}, planned.VLLM, more]
    assert len({name(plan, planned.CLUSTER, engine=engine) for engine in engines}) == len(engines)


def name(plan: Any, runtime: Runtime, **spec: Any) -> str:
    return str(plan(runtime, **({"engine": planned.VLLM} | spec))[-1].ref.name)


def test_a_verdict_depends_on_the_images_of_its_own_engine_alone() -> None:
    ours, vllm = Engine(), Engine.parse(planned.VLLM)
    cluster = planned.CLUSTER
    other = replace(cluster, images={**cluster.images, Image.VLLM: f"x/y@{build.digest('other')}"})
    assert software_of(cluster, ours) == software_of(other, ours)
    assert software_of(cluster, vllm) != software_of(other, vllm)
