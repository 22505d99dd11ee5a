"""Bad input, applied with the real kubectl: refused at a named field, or accepted and Stalled with place and remedy."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, Final

import pytest
import yaml

from plumbline_api.names import INPUTS_CONFIG_MAP, INPUTS_KEY, RULES_KEY, Kind
from plumbline_api.report import Result, Summary
from plumbline_operator.kube.assembly import Operator
from tests.cluster.client import CONFIG_MAPS, KubeClient, Object, eventually
from tests.cluster.commands import run_kubectl
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import KINDS
from tests.cluster.operating import (
    apply_inputs,
    condition_of,
    connect,
    finish_job,
    jobs_of,
    running_operator,
    serve_kinds,
    status_where,
)
from tests.support import build
from tests.support.broken_rules import BROKEN, Broken
from tests.support.full_manifests import FULL, changed

pytestmark = pytest.mark.cluster

RUN, SUITE, GATE, SERVED = Kind.ALIGNMENT_RUN, Kind.RED_TEAM_SUITE, Kind.EVAL_GATE, Kind.GUARDED_INFERENCE

WRONG: Final[Mapping[str, tuple[Kind, Mapping[str, Any], str]]] = {
    "a text for a number": (RUN, {"spec.seed": "many"}, 'spec.seed: Invalid value: "string"'),
    "a number for a text": (RUN, {"spec.stages[1].dpo.beta": 0.1}, "spec.stages[1].dpo.beta: Invalid value"),
    "a mapping for a list": (SUITE, {"spec.attacks": {}}, 'spec.attacks: Invalid value: "object"'),
    "a word that is none of the known": (RUN, {"spec.reuse": "Always"}, 'spec.reuse: Unsupported value: "Always"'),
    "too large a number": (SERVED, {"spec.replicas": 10_000}, "spec.replicas: Invalid value: 10000"),
    "too long a text": (SERVED, {"spec.guard.systemPrompt": "x" * 100_000}, "spec.guard.systemPrompt: Too long"),
    "nothing where something is needed": (GATE, {"spec.suites": []}, "spec.suites: Invalid value: 0"),
    "a name that no child could have": (RUN, {"metadata.name": "n" * 60}, "metadata.name"),
}
"""What is wrong, in a full manifest, and the words that name the place."""


@pytest.fixture(autouse=True)
async def kinds(kube: KubeClient) -> None:
    await serve_kinds(kube)


def kubectl_apply(plane: ControlPlane, namespace: str, *manifests: Object) -> str:
    """What kubectl complains of."""
    for manifest in manifests:
        manifest["metadata"].pop("namespace", None)
    text = "\n---\n".join(map(json.dumps, manifests))
    return run_kubectl(plane, "apply", "-n", namespace, "-f", "-", text=text, check=False).stderr


def complaint(said: str, name: str) -> str:
    """What is said of one object of several."""
    found = re.search(rf'"{name}" is invalid: (.*)$', said, re.MULTILINE)
    return found.group(1) if found else ""


def names_the_place(broken: Broken, words: str) -> bool:
    places = {re.sub(r"\[\d+\]", "[]", place) for place in re.findall(r"(?:spec|metadata)[\w.\[\]]*", words)}
    return broken.rule in words and any(place.startswith(broken.where) for place in places)


async def test_kubectl_apply_refuses_each_broken_rule_at_its_place(
    control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    named = [(f"broken-{number}", broken) for number, broken in enumerate(BROKEN)]
    manifests = [changed(broken.manifest, {"metadata.name": name}) for name, broken in named]
    said = kubectl_apply(control_plane, namespace, *manifests)
    assert [str(broken) for name, broken in named if not names_the_place(broken, complaint(said, name))] == []
    assert [await kube.items(resource, namespace) for resource in KINDS.values()] == [[]] * len(Kind)


@pytest.mark.parametrize("what", WRONG)
def test_kubectl_apply_refuses_a_wrong_value_at_its_place(
    control_plane: ControlPlane, namespace: str, what: str
) -> None:
    kind, changes, words = WRONG[what]
    assert words in kubectl_apply(control_plane, namespace, changed(FULL[kind], changes))


@pytest.mark.parametrize("kind", Kind)
def test_kubectl_apply_refuses_a_field_that_nobody_knows(
    control_plane: ControlPlane, namespace: str, kind: Kind
) -> None:
    said = kubectl_apply(control_plane, namespace, changed(FULL[kind], {"spec.compyute": {"cpu": "1"}}))
    assert 'unknown field "spec.compyute"' in said


# Accepted, and Stalled


@pytest.fixture(name="operator")
async def operator_at_work(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Operator]:
    async with running_operator(connect(control_plane), namespace) as operator:
        yield operator


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def until_stalled(kube: KubeClient, namespace: str, kind: Kind, name: str, *words: str) -> None:
    """Return once the object is Stalled in these words."""

    def tells(thing: Object) -> bool:
        message = str(condition_of(thing, "Stalled").get("message", ""))
        return all(word in message for word in words)

    stalled = await kube.until(KINDS[kind], name, namespace, tells, 60)
    assert stalled["status"]["phase"] in ("Stalled", "Failed", "NotPassed")
    assert condition_of(stalled, "Ready")["status"] == "False"
    assert condition_of(stalled, "Reconciling") == {}


TABLES: Final[Mapping[str, tuple[str | None, tuple[str, ...]]]] = {
    "no table": (None, (INPUTS_CONFIG_MAP, "does not exist", "plumbline push")),
    "an empty table": ("", ("init", "plumbline push")),
    "a table without the file": (f"init: {build.digest('init')}", ("data.jsonl", "plumbline push")),
    "a table that is no YAML": ("{init: [", (INPUTS_CONFIG_MAP, INPUTS_KEY)),
    "a table of other things": ("- init\n- data.jsonl\n", (INPUTS_CONFIG_MAP, INPUTS_KEY)),
    "a digest that is none": ("init: sha256:1234\n", (INPUTS_CONFIG_MAP, INPUTS_KEY)),
}


@pytest.mark.parametrize("table", TABLES)
async def test_a_run_whose_files_are_not_known_is_stalled_with_the_remedy(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator, table: str
) -> None:
    text, words = TABLES[table]
    made = [] if text is None else [config_map(INPUTS_CONFIG_MAP, **{INPUTS_KEY: text})]
    assert kubectl_apply(control_plane, namespace, *made, build.run().dump()) == ""
    await until_stalled(kube, namespace, RUN, "base", *words)


def rules(name: str, text: str) -> Object:
    return config_map(name, **{RULES_KEY: text})


async def test_what_names_something_that_is_not_there_or_not_good_is_stalled_at_its_place(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    served = {
        "no-rules": ("rules-missing", "does not exist"),
        "no-key": ("rules-keyless", f"has no key {RULES_KEY}"),
        "no-yaml": ("rules-torn", f"{RULES_KEY}:3: not YAML"),
        "no-pattern": ("rules-open", "rules[0].pattern", "is not a regular expression"),
        "unknown-field": ("rules-odd", "rules[0].colour: unknown field"),
    }
    manifests = [
        build.run("orphan", model={"run": {"name": "missing"}}).dump(),
        build.gate("suiteless", suites=[{"name": "missing"}]).dump(),
        build.gate("runless", subject={"alignmentRun": {"name": "missing"}}).dump(),
        build.gate("fileless", subject={"file": {"path": "elsewhere"}}).dump(),
        build.gate("baseless", subject={"file": {"path": "init"}}, baseline={"file": {"path": "elsewhere"}}).dump(),
        build.suite().dump(),
        build.inference("gateless", gate={"name": "missing"}).dump(),
        build.inference("unproven", gate={"name": "runless"}).dump(),
        config_map("rules-keyless", other="x"),
        rules("rules-torn", "rules:\n- {id: torn, pattern: ["),
        rules("rules-open", "rules:\n- {id: open, pattern: '('}"),
        rules("rules-odd", "rules:\n- {id: odd, pattern: 'x', colour: red}"),
    ]
    assert kubectl_apply(control_plane, namespace, *manifests) == ""
    await until_stalled(kube, namespace, RUN, "orphan", "spec.model.run", "missing", "does not exist")
    await until_stalled(kube, namespace, GATE, "suiteless", "spec.suites", "missing", "apply it first")
    await until_stalled(kube, namespace, GATE, "runless", "spec.subject.alignmentRun", "missing")
    await until_stalled(kube, namespace, GATE, "fileless", "input subject", "elsewhere", "plumbline push")
    await until_stalled(kube, namespace, GATE, "baseless", "input baseline", "elsewhere", "plumbline push")
    await until_stalled(kube, namespace, SERVED, "gateless", "spec.gate", "missing", "apply it first")
    await until_stalled(kube, namespace, SERVED, "unproven", "EvalGate runless", "so nothing is served")

    passed = build.gate("proven", subject={"file": {"path": "init"}}).dump()
    assert kubectl_apply(control_plane, namespace, passed) == ""
    (job,) = await jobs_of(kube, namespace)
    await finish_job(kube, namespace, job["metadata"]["name"], build.evaluation_summary(build.digest("init")))
    await status_where(kube, namespace, GATE, "proven", verdict="Passed")
    behind = [
        build.inference(name, gate={"name": "proven"}, guard={"rules": {"configMap": {"name": source}}}).dump()
        for name, (source, *_) in served.items()
    ]
    assert kubectl_apply(control_plane, namespace, *behind) == ""
    for name, (source, *words) in served.items():
        await until_stalled(kube, namespace, SERVED, name, source, *words)


ENDINGS: Final = {
    64: ("BadSpec", "spec.stages[0].sft.lora.target: the model has no layer named wq; name one of q_proj, v_proj"),
    65: ("BadData", "data.jsonl:7: chosen equals rejected; correct the row"),
    77: ("NotPermitted", "s3://models may not be written; give the role write access"),
    78: ("BadConfiguration", "/plumbline/work has 1 MB left of the 4 GB needed; ask for more"),
}
"""What programs say before they end so; only they can know."""


async def test_what_only_a_program_can_know_is_told_in_its_own_words(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator
) -> None:
    await apply_inputs(kube, namespace)
    assert kubectl_apply(control_plane, namespace, *(build.run(f"run-{code}").dump() for code in ENDINGS)) == ""
    for job in await jobs_of(kube, namespace, len(ENDINGS)):
        code = int(job["metadata"]["labels"]["plumbline.dev/owner"].rpartition("-")[2])
        told = Summary(result=Result.FAILED, message=ENDINGS[code][1])
        await finish_job(kube, namespace, job["metadata"]["name"], told, code=code)
    for code, (reason, words) in ENDINGS.items():
        run = await status_where(kube, namespace, RUN, f"run-{code}", phase="Failed")
        assert words in condition_of(run, "Stalled")["message"]
        assert condition_of(run, "Stalled")["reason"] == reason
    said = run_kubectl(control_plane, "describe", "-n", namespace, "alr/run-65").stdout
    assert "data.jsonl:7: chosen equals rejected" in said


async def test_corrected_input_is_enough(
    control_plane: ControlPlane, kube: KubeClient, namespace: str, operator: Operator
) -> None:
    kubectl_apply(control_plane, namespace, config_map(INPUTS_CONFIG_MAP, **{INPUTS_KEY: "{"}), build.run().dump())
    await until_stalled(kube, namespace, RUN, "base", INPUTS_CONFIG_MAP)
    good = yaml.safe_dump({path: build.digest(path) for path in ("init", "data.jsonl")})
    kubectl_apply(control_plane, namespace, config_map(INPUTS_CONFIG_MAP, **{INPUTS_KEY: good}))
    assert len(await eventually(partial(jobs_of, kube, namespace), 60)) == 1
    assert (await kube.get(CONFIG_MAPS, INPUTS_CONFIG_MAP, namespace))["data"][INPUTS_KEY] == good
