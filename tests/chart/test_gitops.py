"""What Argo CD, Flux and Helm make of our statuses: never done too early, never waiting for what has failed."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plumbline_api.alignment import AlignmentRun
from plumbline_api.crd import RESOURCES
from plumbline_api.gate import EvalGate, Verdict
from plumbline_api.model import Document
from plumbline_api.names import RETRY_ANNOTATION, Kind
from plumbline_api.progress import Progress
from plumbline_api.reasons import Phase
from tests.chart import stories
from tests.chart.argocd import ARGOCD, Health, discover, health_of, perform
from tests.chart.kstatus import KStatus, flux_complaints, kstatus_of
from tests.support import build

HEALTH = (ARGOCD / "health.lua").read_text(encoding="utf-8")
WORKING, DONE, BROKEN = ("Progressing", "InProgress"), ("Healthy", "Current"), ("Degraded", "Failed")
PAUSED = ("Suspended", "InProgress")
EXPECTED = {
    (Kind.ALIGNMENT_RUN, Phase.PENDING): WORKING,
    (Kind.ALIGNMENT_RUN, Phase.RUNNING): WORKING,
    (Kind.ALIGNMENT_RUN, Phase.SUCCEEDED): DONE,
    (Kind.ALIGNMENT_RUN, Phase.FAILED): BROKEN,
    (Kind.ALIGNMENT_RUN, Phase.STALLED): BROKEN,
    (Kind.ALIGNMENT_RUN, Phase.SUSPENDED): PAUSED,
    (Kind.RED_TEAM_SUITE, Phase.PENDING): WORKING,
    (Kind.RED_TEAM_SUITE, Phase.READY): DONE,
    (Kind.EVAL_GATE, Phase.PENDING): WORKING,
    (Kind.EVAL_GATE, Phase.RUNNING): WORKING,
    (Kind.EVAL_GATE, Phase.PASSED): DONE,
    (Kind.EVAL_GATE, Phase.NOT_PASSED): BROKEN,
    (Kind.EVAL_GATE, Phase.STALLED): BROKEN,
    (Kind.GUARDED_INFERENCE, Phase.PENDING): WORKING,
    (Kind.GUARDED_INFERENCE, Phase.RUNNING): WORKING,
    (Kind.GUARDED_INFERENCE, Phase.SERVING): DONE,
    (Kind.GUARDED_INFERENCE, Phase.STALLED): BROKEN,
}
"""What Argo CD and kstatus say of an object in each phase."""
SHOWN = list(stories.statuses())


def test_the_stories_reach_every_phase_of_every_kind() -> None:
    seen = {(kind, Phase(thing["status"]["phase"])) for kind, thing in SHOWN}
    assert seen == set(EXPECTED)
    assert {phase for _, phase in seen} == set(Phase)


@pytest.mark.parametrize(("kind", "phase"), EXPECTED)
def test_argo_and_kstatus_read_a_phase_alike(kind: Kind, phase: Phase) -> None:
    told = {
        (health_of(HEALTH, thing).status, str(kstatus_of(thing)))
        for found, thing in SHOWN
        if (found, thing["status"]["phase"]) == (kind, phase)
    }
    assert told == {EXPECTED[kind, phase]}


def test_health_says_why_in_the_words_of_ready() -> None:
    broken = next(thing for kind, thing in SHOWN if thing["status"]["phase"] == Phase.FAILED)
    told = health_of(HEALTH, broken).message
    assert told == "OutOfMemory: stage s0 failed: it did not work; look at the logs"


def test_an_object_that_the_operator_has_not_seen_is_waited_for() -> None:
    unseen = [thing for _, thing in SHOWN if thing["status"]["observedGeneration"] == -1]
    assert len(unseen) == len(Kind)
    for thing in unseen:
        expected = Health("Progressing", "waiting until the operator has seen this generation")
        assert health_of(HEALTH, thing) == expected
        assert kstatus_of(thing) == KStatus.IN_PROGRESS
    bare = {"metadata": {"name": "new", "generation": 1}, "spec": {}}
    assert health_of(HEALTH, bare).status == "Progressing"


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.PASSED, Phase.SERVING, Phase.SUSPENDED])
def test_a_newer_spec_is_waited_for_whatever_the_old_one_came_to(phase: Phase) -> None:
    thing = next(thing for _, thing in SHOWN if thing["status"]["phase"] == phase)
    newer = thing | {"metadata": thing["metadata"] | {"generation": thing["metadata"]["generation"] + 1}}
    assert health_of(HEALTH, newer).status == "Progressing"
    assert kstatus_of(newer) == KStatus.IN_PROGRESS


def test_what_is_being_deleted_is_never_done() -> None:
    for _, thing in SHOWN:
        leaving = thing | {"metadata": thing["metadata"] | {"deletionTimestamp": "2026-01-31T12:00:00Z"}}
        assert health_of(HEALTH, leaving) == Health("Progressing", "being deleted")
        assert kstatus_of(leaving) == KStatus.TERMINATING


def test_flux_has_nothing_to_complain_of() -> None:
    seen = [thing for _, thing in SHOWN if thing["status"]["observedGeneration"] != -1]
    assert {complaint for thing in seen for complaint in flux_complaints(thing)} == set()


@given(
    held=st.sets(st.sampled_from(["Ready", "Reconciling", "Stalled", "Suspended"])),
    order=st.permutations(["Ready", "Reconciling", "Stalled", "Suspended"]),
    behind=st.booleans(),
)
def test_health_is_healthy_only_where_kstatus_is_current(held: set[str], order: list[str], *, behind: bool) -> None:
    conditions = [{"type": kind, "status": str(kind in held), "reason": "R", "message": ""} for kind in order]
    status = {"observedGeneration": 2 - behind, "conditions": conditions}
    thing = {"metadata": {"name": "any", "generation": 2}, "spec": {}, "status": status}
    assert health_of(HEALTH, thing).status != "Healthy" or kstatus_of(thing) == KStatus.CURRENT


# Actions


def script(*parts: str) -> str:
    return ARGOCD.joinpath(*parts).read_text(encoding="utf-8")


RUNS = [thing for kind, thing in SHOWN if kind == Kind.ALIGNMENT_RUN]
GATES = [thing for kind, thing in SHOWN if kind == Kind.EVAL_GATE]


@pytest.mark.parametrize(
    ("phase", "offered"),
    [
        (Phase.PENDING, {"suspend"}),
        (Phase.RUNNING, {"suspend"}),
        (Phase.STALLED, {"suspend"}),
        (Phase.SUSPENDED, {"resume"}),
        (Phase.FAILED, {"retry"}),
        (Phase.SUCCEEDED, set()),
    ],
)
def test_a_run_offers_what_can_be_done_with_it(phase: Phase, offered: set[str]) -> None:
    things = [thing for thing in RUNS if thing["status"]["phase"] == phase]
    assert things
    for thing in things:
        actions = discover(script("AlignmentRun", "discovery.lua"), thing)
        assert set(actions) == {"retry", "suspend", "resume"}
        assert {name for name, enabled in actions.items() if enabled} == offered


def test_a_gate_can_be_asked_again_unless_it_passed() -> None:
    for thing in GATES:
        verdict = thing["status"].get("verdict")
        assert discover(script("EvalGate", "discovery.lua"), thing) == {"retry": verdict in set(Verdict) - {"Passed"}}


@pytest.mark.parametrize(("action", "suspended"), [("suspend", True), ("resume", False)])
def test_pausing_changes_one_field(action: str, *, suspended: bool) -> None:
    for thing in RUNS:
        expected = thing | {"spec": thing["spec"] | {"suspend": suspended}}
        assert perform(script(f"{action}.lua"), thing) == expected


def test_a_retry_writes_a_nonce_and_nothing_else() -> None:
    for thing in (*RUNS, *GATES):
        changed = perform(script("retry.lua"), thing)
        nonce = changed["metadata"]["annotations"].pop(RETRY_ANNOTATION)
        assert nonce.startswith("argocd-2")
        assert changed == thing | {"metadata": thing["metadata"] | {"annotations": changed["metadata"]["annotations"]}}


@pytest.mark.parametrize("action", ["suspend", "resume", "retry"])
def test_what_an_action_makes_is_a_valid_manifest(action: str) -> None:
    bare = build.run().dump()
    del bare["metadata"]["namespace"]
    AlignmentRun.parse(perform(script(f"{action}.lua"), bare))
    if action == "retry":
        EvalGate.parse(perform(script("retry.lua"), build.gate().dump()))


# Updates that need no new look


def progress_paths(model: type[Document], path: str = ".status") -> Iterator[str]:
    """Where a status holds a Progress, as jq paths."""
    for field in model.model_fields.values():
        name = field.alias or field.serialization_alias or ""
        for part in _models(field.annotation):
            many = "[]?" if "tuple" in str(field.annotation) else ""
            if part is Progress:
                yield f"{path}.{name}{many}"
            else:
                yield from progress_paths(part, f"{path}.{name}{many}")


def _models(annotation: Any) -> Iterator[type[Document]]:
    for part in getattr(annotation, "__args__", (annotation,)):
        if isinstance(part, type) and issubclass(part, Document):
            yield part
        elif part is not annotation:
            yield from _models(part)


def test_every_progress_report_is_passed_over_and_nothing_else() -> None:
    ignored = yaml.safe_load(script("ignore-updates.yaml"))
    found = {kind.value: sorted(progress_paths(RESOURCES[kind].status)) for kind in Kind}
    assert ignored == {kind: {"jqPathExpressions": paths} for kind, paths in found.items() if paths}
