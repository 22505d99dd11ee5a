"""The one list of images is complete: it has what the chart renders and what the operator plans, and nothing else."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import yaml

from plumbline_api.names import Image
from plumbline_operator.bundle.needed import needed_images
from plumbline_operator.kube.settings import settings_from
from plumbline_operator.observed import Runtime
from tests.chart.helm import CHART, VALUES, Helm, Object, Rendering, find, images_in, pods_in, values_of
from tests.support import build, planned

pytestmark = pytest.mark.cluster

OWN = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
SENTINEL = "sentinel.example:5000/all"
LIKE_AN_IMAGE = re.compile(r"[\w.:/-]+/[\w./-]+(?:@sha256:[0-9a-f]{64}|:[\w.-]+)")
SENTINELS: dict[str, Object] = {
    "registry of the chart": {},
    "one registry for all": {"global": {"imageRegistry": SENTINEL}},
    "a registry for each": {
        "images": {
            name: {"registry": f"{name}.sentinel.example", "repository": f"other/{name}", "digest": build.digest(name)}
            for name in OWN["images"]
        }
    },
    "the operator by tag": {"images": {"operator": {"registry": SENTINEL, "tag": "nightly"}}},
}
MATRIX = list(product(VALUES, SENTINELS))


def merged(below: Any, above: Any) -> Any:
    """Values as Helm lays them over each other."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: merged(below[key], part) if key in below else part for key, part in above.items()}}


def planned_children(runtime: Runtime) -> list[Object]:
    """Whatever the operator would make: each kind of pod, for one node and for several, with JobSet and without."""
    gang = {**planned.COMPUTE, "nodes": 2}
    children = [
        *planned.stage(runtime, {"timeout": "1h"}, compute=planned.COMPUTE),
        *planned.stage(runtime, compute=gang),
        *planned.stage(replace(runtime, job_sets=True), compute=gang),
        *planned.evaluation(runtime, compute=planned.COMPUTE),
        *planned.serving(runtime, compute=planned.COMPUTE, replicas=2),
    ]
    if Image.VLLM in runtime.images:
        children += [*planned.evaluation(runtime, engine=planned.VLLM), *planned.serving(runtime, engine=planned.VLLM)]
    return [dict(child.manifest) for child in children]


def runtime_of(things: list[Object]) -> Runtime:
    """What an operator of this release would be told about pods."""
    (container,) = find(things, "Deployment")["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable.get("value", "pod-1") for variable in container["env"]}
    return settings_from({**told, "PLUMBLINE_PODS": json.dumps(pods_in(things))}).runtime


def texts(value: Any) -> Iterator[str]:
    """Every string within."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(part)


@pytest.mark.parametrize(("path", "sentinel"), MATRIX, ids=lambda one: getattr(one, "stem", one))
def test_the_list_has_every_image_that_is_named_and_no_other(helm4: Helm, path: Any, sentinel: str) -> None:
    given = merged(values_of(path), SENTINELS[sentinel])
    things = helm4.render(Rendering(given))
    made = planned_children(runtime_of(things))
    named = {*images_in(things), *pods_in(things)["images"].values(), *images_in(made)}
    assert named == {image.reference for image in needed_images(merged(OWN, given), VERSION)}


def test_no_image_is_named_where_nobody_looks_for_one(helm4: Helm) -> None:
    for path in VALUES:
        given = merged(values_of(path), SENTINELS["a registry for each"])
        things = helm4.render(Rendering(given))
        written = texts([things, planned_children(runtime_of(things))])
        found = {each for text in written for each in LIKE_AN_IMAGE.findall(text)}
        found = {each for each in found if "@sha256:" in each or "sentinel" in each}
        assert found == {image.reference for image in needed_images(merged(OWN, given), VERSION)}
