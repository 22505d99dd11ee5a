"""What local mode does with fields for clusters: refused by name, or told to make no difference."""

from typing import Any

import pytest

from plumbline_api.reasons import Reason
from plumbline_operator.local.ignored import ignored_fields
from plumbline_operator.local.offered import Unplannable, check_job, check_pod
from plumbline_operator.observed import PlumblineObject
from tests.support import build, planned

PLACED: dict[str, Any] = {"nodeSelector": {"pool": "a"}, "tolerations": [{"key": "a", "operator": "Exists"}]}


@pytest.mark.parametrize(
    ("thing", "fields"),
    [
        (build.run(), []),
        (build.suite(), []),
        (build.inference(replicas=1), []),
        (build.run(compute=PLACED), ["spec.compute.nodeSelector", "spec.compute.tolerations"]),
        (build.gate(compute=PLACED), ["spec.compute.nodeSelector", "spec.compute.tolerations"]),
        (build.run(queue={"name": "q"}), ["spec.queue"]),
        (build.inference(replicas=2), ["spec.replicas"]),
    ],
)
def test_a_field_that_changes_nothing_here_is_told_with_the_reason(thing: PlumblineObject, fields: list[str]) -> None:
    told = ignored_fields(thing)
    assert [sentence.partition(" changes nothing here: ")[0] for sentence in told] == fields


def test_gpus_are_refused_by_name() -> None:
    spec = planned.stage(build.RUNTIME, compute={"gpu": {"count": 2}})[-1].manifest["spec"]["template"]["spec"]
    with pytest.raises(
        Unplannable, match=r"container worker asks for 2 nvidia.com/gpu, .* run it on a cluster"
    ) as told:
        check_pod(spec)
    assert told.value.problem.reason == Reason.UNSUPPORTED_BY_RUNTIME


@pytest.mark.parametrize("template", planned.pod_templates(build.RUNTIME).values(), ids=planned.pod_templates())
def test_every_planned_pod_is_understood_but_for_its_gpus(template: dict[str, Any]) -> None:
    spec = template["spec"]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        container["resources"]["limits"].pop("nvidia.com/gpu", None)
    check_pod(spec)


def test_every_planned_job_is_understood() -> None:
    for children in (planned.stage(options={"timeout": "1h"}, queue={"name": "q"}), planned.evaluation()):
        check_job(children[-1].manifest["spec"])


def test_a_planned_job_of_several_nodes_is_understood() -> None:
    spec = planned.stage(build.RUNTIME, compute={"nodes": 2})[-1].manifest["spec"]
    check_job(spec)
    check_pod(spec["template"]["spec"])


def test_how_several_nodes_run_here_is_told() -> None:
    (told,) = ignored_fields(build.run(compute={"nodes": 3}))
    assert told == "spec.compute.nodes: all 3 work beside each other on this machine"


@pytest.mark.parametrize("field", ["hostNetwork", "runtimeClassName", "affinity"])
def test_a_field_of_a_pod_that_nobody_has_thought_of_is_refused(field: str) -> None:
    spec = planned.stage(build.RUNTIME)[-1].manifest["spec"]["template"]["spec"]
    with pytest.raises(Unplannable, match=f"the pod asks for {field}"):
        check_pod({**spec, field: True})


def test_a_field_of_a_job_that_nobody_has_thought_of_is_refused() -> None:
    with pytest.raises(Unplannable, match="the Job asks for completions"):
        check_job({**planned.stage()[-1].manifest["spec"], "completions": 2})


def test_a_field_of_a_container_that_nobody_has_thought_of_is_refused() -> None:
    spec = planned.stage(build.RUNTIME)[-1].manifest["spec"]["template"]["spec"]
    with pytest.raises(Unplannable, match="container worker asks for lifecycle"):
        check_pod({**spec, "containers": [{**spec["containers"][0], "lifecycle": {}}]})
