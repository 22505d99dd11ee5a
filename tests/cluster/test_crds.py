"""The CRDs on a real API server: it takes them as they are, and says of manifests what the models say."""

import asyncio
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pytest
import yaml

from plumbline_api.crd import RESOURCES, crd_of
from plumbline_api.names import CATEGORY, GROUP, PLURALS, SHORT_NAMES, Kind
from plumbline_api.schemas import DOCUMENTS
from tests.cluster.client import CRDS, ApiError, KubeClient, Object
from tests.cluster.commands import run_kubectl
from tests.cluster.controlplane import ControlPlane
from tests.cluster.crds import CRD_FILES, KINDS, install_crds
from tests.support.broken_rules import BROKEN, TRANSITIONS, Broken
from tests.support.checkout import ROOT, tracked
from tests.support.full_manifests import FULL, changed, minimal
from tests.support.manifests_corpus import MODELS, Case, corpus

pytestmark = pytest.mark.cluster

Served = Mapping[Kind, Object]
TRY = {"dryRun": "All", "fieldValidation": "Strict"}
AT_ONCE = 8
GOLDEN = ROOT / "tests/contract/golden"


@pytest.fixture(scope="module", name="kinds")
def served_kinds(control_plane: ControlPlane) -> Served:
    """The CRDs as the API server has them; they stay for whoever comes after."""

    async def install() -> Served:
        async with control_plane.client() as kube:
            await install_crds(kube)
            return {kind: await kube.get(CRDS, f"{PLURALS[kind]}.{GROUP}") for kind in Kind}

    return asyncio.run(install())


async def verdict(kube: KubeClient, kind: Kind, manifest: Object) -> str:
    """Why the API server would refuse an object; empty where it would not."""
    try:
        await kube.create(KINDS[kind], manifest, "default", TRY)
    except ApiError as error:
        if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise
        return str(error)
    return ""


def test_kubectl_applies_the_committed_files_without_a_warning(kinds: Served, control_plane: ControlPlane) -> None:
    files = [argument for file in CRD_FILES.values() for argument in ("-f", str(file))]
    done = run_kubectl(control_plane, "apply", "--server-side", *files)
    assert done.stdout.count("serverside-applied") == len(Kind)
    assert done.stderr == ""


def test_the_schemas_are_structural_and_kept_as_they_were_written(kinds: Served) -> None:
    for kind, crd in kinds.items():
        said = {found["type"]: found["status"] for found in crd["status"]["conditions"]}
        assert said == {"NamesAccepted": "True", "Established": "True"}, "NonStructuralSchema would stand here"
        assert crd["status"]["storedVersions"] == ["v1alpha1"]
        assert crd["spec"] == crd_of(kind)["spec"] | {"conversion": {"strategy": "None"}}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", Kind)
async def test_models_and_api_server_agree_on_every_manifest_of_the_corpus(
    kinds: Served, kube: KubeClient, kind: Kind
) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def differs(case: Case) -> str:
        async with turns:
            refused = await verdict(kube, kind, case.manifest)
        return "" if case.valid == (not refused) else f"{case}: the API server says {refused or 'yes'}"

    cases = [case for case in corpus() if case.kind == kind]
    differences = await asyncio.gather(*map(differs, cases))
    assert list(filter(None, differences)) == []


@pytest.mark.parametrize("kind", Kind)
async def test_an_object_that_every_rule_speaks_of_is_accepted(kinds: Served, kube: KubeClient, kind: Kind) -> None:
    assert await verdict(kube, kind, FULL[kind]) == ""


@pytest.mark.parametrize("broken", BROKEN, ids=str)
async def test_an_object_that_breaks_a_rule_is_refused_in_its_words_and_at_its_place(
    kinds: Served, kube: KubeClient, broken: Broken
) -> None:
    with pytest.raises(ApiError) as refused:
        await kube.create(KINDS[broken.kind], broken.manifest, "default", TRY)
    causes = refused.value.answer["details"]["causes"]
    fields = [cause["field"] for cause in causes if cause["message"].endswith(f": {broken.rule}")]
    places = {re.sub(r"\[\d+\]", "[]", field) for field in fields}
    assert places <= {broken.where, f"{broken.where}.{broken.rule.split()[0]}"}
    assert len(fields) == 1


@pytest.fixture(name="run")
async def made_run(kinds: Served, kube: KubeClient, namespace: str) -> Object:
    """An AlignmentRun that is there."""
    return await kube.create(KINDS[Kind.ALIGNMENT_RUN], FULL[Kind.ALIGNMENT_RUN], namespace)


@pytest.mark.parametrize("rule", TRANSITIONS)
async def test_a_change_of_a_run_is_refused(kube: KubeClient, namespace: str, run: Object, rule: str) -> None:
    with pytest.raises(ApiError, match=rule) as refused:
        await kube.replace(KINDS[Kind.ALIGNMENT_RUN], changed(run, TRANSITIONS[rule]), namespace)
    assert len(refused.value.answer["details"]["causes"]) == 1


async def test_what_may_change_of_a_run_changes(kube: KubeClient, namespace: str, run: Object) -> None:
    for changes in (
        {"metadata.labels.app": "another"},
        {"spec.suspend": False},
        {"spec.queue.name": "slow-queue"},
        {"spec.ttlSecondsAfterFinished": 60},
        {"spec.queue": None},
    ):
        run = await kube.replace(KINDS[Kind.ALIGNMENT_RUN], changed(run, changes), namespace)
    assert run["metadata"]["labels"] == {"app": "another"}
    assert (run["spec"]["suspend"], run["spec"].get("queue")) == (False, None)


@pytest.mark.parametrize("kind", Kind)
async def test_defaults_of_the_api_server_are_those_of_the_model(
    kinds: Served, kube: KubeClient, namespace: str, kind: Kind
) -> None:
    await kube.create(KINDS[kind], minimal(kind), namespace)
    made = await kube.get(KINDS[kind], "minimal", namespace)
    meant = MODELS[kind].parse(minimal(kind)).dump()["spec"]
    assert MODELS[kind].parse(minimal(kind) | {"spec": made["spec"]}).dump()["spec"] == meant
    # What is applied as a whole comes back as it was written, or a tool that compares with git sees a difference.
    as_written = {name: minimal(kind)["spec"][name] if name == "rules" else value for name, value in meant.items()}
    assert made["spec"] == as_written
    assert made["status"] == RESOURCES[kind].status().dump()
    # A tool that waits sees a generation that nobody has observed, and goes on waiting.
    assert made["status"]["observedGeneration"] < made["metadata"]["generation"]


@pytest.mark.parametrize("kind", Kind)
async def test_a_status_comes_back_as_it_was_written(
    kinds: Served, kube: KubeClient, namespace: str, kind: Kind
) -> None:
    made = await kube.create(KINDS[kind], minimal(kind), namespace)
    status = golden_status(kind)
    written = await kube.replace(KINDS[kind], made | {"status": status}, namespace, "status")
    assert written["status"] == status
    assert written["metadata"]["generation"] == 1
    assert RESOURCES[kind].status.parse(written["status"]).dump() == status


def golden_status(kind: Kind) -> Object:
    name = f"{kind}Status-v1alpha1"
    status: Object = DOCUMENTS[name].read((GOLDEN / f"{name}.json").read_bytes()).dump()
    return status


async def test_a_newer_operator_can_tell_what_the_crd_has_no_word_for(
    kube: KubeClient, namespace: str, run: Object
) -> None:
    status = golden_status(Kind.ALIGNMENT_RUN)
    status["conditions"][0] |= {"type": "BrandNew", "reason": "NeverHeardOf"}
    written = await kube.replace(KINDS[Kind.ALIGNMENT_RUN], run | {"status": status}, namespace, "status")
    assert written["status"]["conditions"][0]["reason"] == "NeverHeardOf"


async def test_two_conditions_of_one_type_are_refused(kube: KubeClient, namespace: str, run: Object) -> None:
    status = golden_status(Kind.ALIGNMENT_RUN)
    status["conditions"] *= 2
    with pytest.raises(ApiError, match="Duplicate value"):
        await kube.replace(KINDS[Kind.ALIGNMENT_RUN], run | {"status": status}, namespace, "status")


def ready(reason: str, *others: str) -> list[Object]:
    """Conditions in which Ready is not the first."""
    said = {"status": "True", "reason": reason, "message": f"it is {reason}", "observedGeneration": 1}
    return [said | {"type": kind, "lastTransitionTime": "2026-01-31T12:00:00Z"} for kind in (*others, "Ready")]


PROGRESS = {"progressPercentage": 40, "metrics": [], "lastUpdatedTime": "2026-01-31T12:00:00Z"}
DIGEST = "sha256:" + "0a" * 32

# The status of a minimal object, and the cells of its row but for the last, its age.
ROWS: dict[Kind, tuple[Object, list[str]]] = {
    Kind.ALIGNMENT_RUN: (
        {
            "phase": "Running", "attempt": 2, "output": DIGEST, "conditions": ready("Running", "Succeeded"),
            "stages": [
                {"name": "first", "type": "sft", "state": "Succeeded"},
                {"name": "align", "type": "dpo", "state": "Running", "progress": PROGRESS},
                {"name": "last", "type": "dpo", "state": "Pending"},
            ],
        },
        ["minimal", "dpo", "Running", "align", "40", "Running", "True", "2", DIGEST, "it is Running"],
    ),
    Kind.RED_TEAM_SUITE: (
        {"phase": "Ready", "conditions": ready("Ready", "Executed")},
        ["minimal", "True", "Ready", "True", "Ready", "it is Ready"],
    ),
    Kind.EVAL_GATE: (
        {
            "phase": "NotPassed", "verdict": "Failed", "subject": DIGEST, "progress": PROGRESS,
            "conditions": ready("ThresholdViolated", "Completed", "Passed"),
        },
        ["minimal", "Failed", "NotPassed", "40", "ThresholdViolated", "True", "True", DIGEST,
         "it is ThresholdViolated"],
    ),
    Kind.GUARDED_INFERENCE: (
        {
            "phase": "Serving", "conditions": ready("Serving", "GateSatisfied", "ModelReady", "GuardReady"),
            "stable": {"digest": DIGEST, "deployment": "served", "endpoint": "http://served.default"},
        },
        ["minimal", "True", "Serving", "gate", "Serving", "True", "True", "True", DIGEST, "http://served.default",
         "it is Serving"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
async def test_kubectl_shows_the_columns(
    kinds: Served, control_plane: ControlPlane, kube: KubeClient, namespace: str, kind: Kind
) -> None:
    status, cells = ROWS[kind]
    await kube.create(KINDS[kind], minimal(kind), namespace)
    await kube.merge(KINDS[kind], "minimal", {"status": status}, namespace, "status")
    columns = RESOURCES[kind].columns
    wide, narrow = (
        table(control_plane, "get", SHORT_NAMES[kind], "-n", namespace, *flags) for flags in (["-o", "wide"], [])
    )
    assert list(wide) == ["NAME", *(column.name.upper() for column in columns)]
    assert list(wide.values())[:-1] == cells
    assert list(narrow) == ["NAME", *(column.name.upper() for column in columns if not column.wide)]


def table(plane: ControlPlane, *arguments: str) -> dict[str, str]:
    """The one row that kubectl prints, by heading; a cell begins where its heading does."""
    heading, row = run_kubectl(plane, *arguments).stdout.splitlines()
    starts = [0, *(index + 1 for index in range(2, len(heading) - 1) if heading[index - 1 : index + 1] == "  ")]
    starts = [start for start in starts if heading[start] != " "]
    ends = [*starts[1:], max(len(heading), len(row))]
    return {heading[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}


async def test_all_kinds_are_one_category_and_are_found_by_their_fields(
    kinds: Served, control_plane: ControlPlane, kube: KubeClient, namespace: str
) -> None:
    for kind in Kind:
        await kube.create(KINDS[kind], FULL[kind], namespace)
        await kube.create(KINDS[kind], minimal(kind), namespace)

    def names(*arguments: str) -> list[str]:
        done = run_kubectl(control_plane, "get", "-n", namespace, "-o", "name", *arguments)
        return [line.partition(".")[0] + "/" + line.partition("/")[2] for line in done.stdout.split()]

    assert len(names(CATEGORY)) == 2 * len(Kind)
    assert names("alr", "--field-selector", "spec.model.run.name=earlier") == ["alignmentrun/full"]
    assert names("egt", "--field-selector", "spec.subject.alignmentRun.name=run") == ["evalgate/full"]
    assert names("gin", "--field-selector", "spec.gate.name=gate,status.phase=Pending") == [
        "guardedinference/full",
        "guardedinference/minimal",
    ]
    assert names("egt", "--field-selector", "status.verdict=Passed") == []


def test_kubectl_refuses_an_unknown_field_and_explains_the_known(
    kinds: Served, control_plane: ControlPlane, namespace: str
) -> None:
    text = json.dumps(changed(FULL[Kind.ALIGNMENT_RUN], {"spec.stages[1].dpo.betta": "0.1"}))
    refused = run_kubectl(control_plane, "apply", "-n", namespace, "-f", "-", text=text, check=False)
    assert refused.returncode != 0
    assert 'unknown field "spec.stages[1].dpo.betta"' in refused.stderr
    told = run_kubectl(control_plane, "explain", "alr.spec.stages.dpo.beta").stdout
    assert "Strength of the pull towards the reference model." in told


def examples() -> list[tuple[str, Any]]:
    """Every object of ours in the examples, with the file it stands in."""
    files = [path for path in tracked() if path.is_relative_to(ROOT / "examples") and path.suffix == ".yaml"]
    found = [(path.name, data) for path in files for data in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    return [(f"{data['kind']} in {name}", data) for name, data in found if data.get("kind") in tuple(Kind)]


@pytest.mark.parametrize(("name", "manifest"), examples(), ids=[name for name, _ in examples()])
async def test_an_example_is_accepted(kinds: Served, kube: KubeClient, name: str, manifest: Object) -> None:
    assert await verdict(kube, Kind(manifest["kind"]), manifest) == "", name
