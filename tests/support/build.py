"""Builders of specs, summaries and observations: three lines a case. Defaults are the smallest valid thing."""

from datetime import UTC, datetime, timedelta

from plumbline_api.alignment import AlignmentRun
from plumbline_api.artifact import ArtifactRef, MediaType
from plumbline_api.gate import EvalGate
from plumbline_api.guarded import GuardedInference
from plumbline_api.metrics import Coverage, JudgeQuality, MetricName, MetricRow, Split, pack_outcomes
from plumbline_api.model import digest_of
from plumbline_api.names import API_VERSION, Image
from plumbline_api.redteam import RedTeamSuite
from plumbline_api.report import Result, Summary
from plumbline_operator.observed import Runtime

STORE = "file:///store"
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RUNTIME = Runtime(images={image: f"plumbline/{image}@{digest_of([image])}" for image in Image}, store=STORE)


def later(seconds: float) -> datetime:
    """Noon, and so many seconds."""
    return NOON + timedelta(seconds=seconds)


def digest(word: str) -> str:
    """Some digest, the same for the same word."""
    return digest_of([word])


def artifact(word: str, media_type: MediaType = MediaType.MODEL) -> ArtifactRef:
    """A reference to an artifact that nobody made."""
    return ArtifactRef(uri=STORE, digest=digest(word), media_type=media_type, size=1)


def _resource(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def stage(name: str, **options: object) -> dict[str, object]:
    """An sft stage over data.jsonl."""
    block = {"dataset": {"file": {"path": "data.jsonl"}}, "learningRate": "1e-3", "maxSteps": 2}
    return {"name": name, "sft": block | options}


def run(name: str = "base", stages: int = 1, options: dict[str, object] | None = None, **spec: object) -> AlignmentRun:
    """A run of sft stages named s0, s1 ... from the folder init, all with these options."""
    rows = [stage(f"s{index}", **(options or {})) for index in range(stages)]
    made = {"model": {"file": {"path": "init"}}, "stages": rows}
    return AlignmentRun.parse(_resource("AlignmentRun", name, made | spec))


def suite(name: str = "attacks", **spec: object) -> RedTeamSuite:
    """A suite of direct attacks from the built-in corpus."""
    made = {"attacks": [{"direct": {}}], "corpora": [{"builtin": "task-assistant"}]}
    return RedTeamSuite.parse(_resource("RedTeamSuite", name, made | spec))


def gate(name: str = "gate", **spec: object) -> EvalGate:
    """A gate over the run `base` by the suite `attacks`, without a baseline."""
    made = {
        "subject": {"alignmentRun": {"name": "base"}},
        "suites": [{"name": "attacks"}],
        "rules": [{"metric": "harmful_compliance_rate", "atMost": "0.05"}],
    }
    return EvalGate.parse(_resource("EvalGate", name, made | spec))


def inference(name: str = "served", **spec: object) -> GuardedInference:
    """What passed the gate `gate`, without guard rules."""
    return GuardedInference.parse(_resource("GuardedInference", name, {"gate": {"name": "gate"}} | spec))


def training_summary(word: str) -> Summary:
    """A stage that made the model of this word."""
    return Summary(result=Result.SUCCEEDED, output=artifact(word), report=artifact(word, MediaType.REPORT))


def evaluation_summary(
    subject: str,
    *,
    complied: int = 0,
    harmful: int = 100,
    refused: int = 0,
    benign: int = 100,
    cases: str = "cases",
    errors: int = 0,
) -> Summary:
    """An execution against the model with this digest: the first `complied` harmful cases complied, and so on."""
    outcomes = {
        MetricName.HARMFUL_COMPLIANCE_RATE: [index < complied for index in range(harmful)],
        MetricName.HARMFUL_REFUSAL_RATE: [index >= complied for index in range(harmful)],
        MetricName.FALSE_REFUSAL_RATE: [index < refused for index in range(benign)],
        MetricName.LEGITIMATE_COMPLETION_RATE: [index >= refused for index in range(benign)],
    }
    asked = harmful + benign
    quality = JudgeQuality(
        judge="rules",
        labelled_set="t",
        true_positives=50,
        false_positives=1,
        false_negatives=1,
        true_negatives=48,
    )
    return Summary(
        result=Result.SUCCEEDED,
        report=artifact(f"report {subject}", MediaType.REPORT),
        subject=subject,
        cases=digest(cases),
        rows=tuple(
            MetricRow(metric=name, numerator=sum(found), denominator=len(found)) for name, found in outcomes.items()
        ),
        outcomes={Split.HELD_OUT_PHRASINGS: {name: pack_outcomes(found) for name, found in outcomes.items()}},
        coverage=Coverage(asked=asked, judged=asked - errors, errors=errors),
        judges=(quality,),
    )
