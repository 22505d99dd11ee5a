"""For each rule between fields that the CRDs hold: what breaks it, and nothing else, in a full manifest.

Used by the contract tests (the models refuse) and by the tests on a real API server (it refuses, with the same words).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from plumbline_api.names import Kind
from tests.support.full_manifests import FULL, GONE, Manifest, changed

__all__ = ["BROKEN", "TRANSITIONS", "Broken"]


@dataclass(frozen=True)
class Broken:
    """A way to break one rule."""

    kind: Kind
    where: str
    """The schema that holds the rule, for example `spec.stages[].dpo`."""
    rule: str
    """The rule's message, as the API server says it."""
    changes: Mapping[str, Any]
    """What to change in the full manifest."""

    @property
    def manifest(self) -> Manifest:
        """The manifest that breaks it."""
        return changed(FULL[self.kind], self.changes)

    def __str__(self) -> str:
        return f"{self.kind} {self.where}: {self.rule[:60]}"


_ONE_STAGE: Final = "give exactly one of sft, dpo"
_ONE_LENGTH: Final = "give exactly one of epochs, maxSteps"
_NO_TIME: Final = "is no time at all; write at least 1s, or leave the field out"
_METRIC: Final = (
    "is not a metric; write name or name{label=value} with a name of harmful_compliance_rate, harmful_refusal_rate, "
    "false_refusal_rate, legitimate_completion_rate and labels of category, attack, split"
)
_LABEL_KEY: Final = (
    "every key must have maxLength 317 and pattern "
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)


def _broken_runs() -> Iterator[Broken]:
    def broken(where: str, rule: str, changes: Mapping[str, Any]) -> Broken:
        return Broken(Kind.ALIGNMENT_RUN, where, rule, changes)

    yield broken("spec.model", "give exactly one of file, run", {"spec.model.file": {"path": "base"}})
    yield broken("spec.stages[]", _ONE_STAGE, {"spec.stages[0].sft": GONE})
    for at, where, both, nothing in (
        ("spec.stages[0].sft", "spec.stages[].sft", {"maxSteps": 3}, {"epochs": "0.0"}),
        ("spec.stages[1].dpo", "spec.stages[].dpo", {"epochs": "1"}, {"epochs": "0e-3", "maxSteps": GONE}),
    ):
        yield broken(where, _ONE_LENGTH, _inside(at, both))
        yield broken(f"{where}.dataset", "give exactly one of file", {f"{at}.dataset": {}})
        yield broken(f"{where}.heldOut", "give exactly one of file", {f"{at}.heldOut": {}})
        yield broken(f"{where}.timeout", _NO_TIME, {f"{at}.timeout": "0h0s"})
        fact = "must be above 0, or nothing is learned"
        yield broken(where, f"learningRate {fact}", {f"{at}.learningRate": "0e-7"})
        yield broken(where, f"epochs {fact}", _inside(at, nothing))
    at, where = "spec.stages[1].dpo", "spec.stages[].dpo"
    yield broken(where, "lossWeights must have one entry per loss", {f"{at}.lossWeights": ["1"]})
    yield broken(where, "loss must name each loss once", {f"{at}.loss": ["sft", "sft"]})
    yield broken(where, "labelSmoothing must be below 0.5", {f"{at}.labelSmoothing": "0.5"})
    yield broken(where, "labelSmoothing must be above 0 for the loss robust", {f"{at}.labelSmoothing": "0"})


def _broken_places(kind: Kind) -> Iterator[Broken]:
    yield Broken(kind, "spec.compute.nodeSelector", _LABEL_KEY, {"spec.compute.nodeSelector": {"my pool": "gpu"}})
    at, where = "spec.compute.tolerations", "spec.compute.tolerations[]"
    yield Broken(kind, where, "operator must be Exists where there is no key", {f"{at}[0].key": GONE})
    yield Broken(
        kind, where, "value is compared with Equal only; leave it out with Exists", {f"{at}[2].value": "present"}
    )


def _inside(path: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {f"{path}.{name}": value for name, value in changes.items()}


def _broken_suites() -> Iterator[Broken]:
    def broken(where: str, rule: str, changes: Mapping[str, Any]) -> Broken:
        return Broken(Kind.RED_TEAM_SUITE, where, rule, changes)

    yield broken(
        "spec.attacks[]",
        "give exactly one of direct, rolePlay, promptInjection, socialEngineering, contextManipulation",
        {"spec.attacks[0].contextManipulation": {}},
    )
    yield broken("spec.corpora[]", "give exactly one of builtin, package", {"spec.corpora[0].package": "advbench"})
    yield broken("spec.judges[]", "give exactly one of rules", {"spec.judges[0]": {}})
    yield broken("spec.generation.timeout", _NO_TIME, {"spec.generation.timeout": "0s"})
    yield broken(
        "spec",
        "attacks must hold each kind of attack once; list its variants in one block",
        {"spec.attacks[1]": {"promptInjection": {}}},
    )


def _broken_gates() -> Iterator[Broken]:
    def broken(where: str, rule: str, changes: Mapping[str, Any]) -> Broken:
        return Broken(Kind.EVAL_GATE, where, rule, changes)

    for role, other in (("subject", {"file": {"path": "a"}}), ("baseline", {"alignmentRun": {"name": "a"}})):
        yield broken(f"spec.{role}", "give exactly one of alignmentRun, file", _inside(f"spec.{role}", other))
    yield broken("spec.rules[].metric", _METRIC, {"spec.rules[2].metric": "false_refusal_rate{place=here}"})
    yield broken(
        "spec.rules[].confidence",
        "is below 0.5, the least one-sided confidence that says anything",
        {"spec.rules[0].confidence": "0.4999"},
    )
    yield broken(
        "spec.rules[]",
        "give exactly one of atMost, atLeast, reductionFromBaseline, notWorseThanBaselineBy",
        {"spec.rules[2].atLeast": "0.01"},
    )
    yield broken(
        "spec.rules[]",
        "reductionFromBaseline asks for less of a metric that is better when higher",
        {"spec.rules[0].metric": "harmful_refusal_rate{split=unseen_actions}"},
    )
    yield broken(
        "spec.rules[]",
        "metric may have no label but split where a rule compares with the baseline, over whole suites or splits",
        {"spec.rules[3].metric": "legitimate_completion_rate{split=unseen_actions,category=violence}"},
    )
    yield broken("spec", "a rule compares with the baseline, but the gate names no baseline", {"spec.baseline": GONE})
    yield broken(
        "spec",
        "rules must hold one at least that is Required, or nothing could fail",
        {"spec.rules[0].enforcement": "Reported", "spec.rules[2].enforcement": "Reported"},
    )
    yield broken("spec", "compute must leave nodes at 1: an evaluation runs in one pod", {"spec.compute.nodes": 2})


_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "args is for type vllm only: Plumbline's own engine takes none": {"type": "transformers"},
    "args may name dtype, enable-prefix-caching, enforce-eager, gpu-memory-utilization, kv-cache-dtype, "
    "kv-cache-memory-bytes, max-model-len, max-num-batched-tokens, max-num-seqs, quantization, seed, "
    "and nothing else": {"args": {"trust-remote-code": "true"}},
    'args must be "true" or "false" for enable-prefix-caching and enforce-eager': {"args": {"enforce-eager": "1"}},
    "args must be a number for gpu-memory-utilization, kv-cache-memory-bytes, max-model-len, max-num-batched-tokens, "
    "max-num-seqs, seed": {"args": {"seed": "auto"}},
}


def _broken_engines(kind: Kind) -> Iterator[Broken]:
    for rule, changes in _OPTIONS.items():
        yield Broken(kind, "spec.engine", rule, _inside("spec.engine", changes))


_SERVED_BY_ONE: Final = Broken(
    Kind.GUARDED_INFERENCE,
    "spec",
    "compute must leave nodes at 1: each replica serves by itself; spec.replicas says how many there are",
    {"spec.compute.nodes": 2},
)

BROKEN: Final = (
    _SERVED_BY_ONE,
    *_broken_runs(),
    *_broken_suites(),
    *_broken_gates(),
    *(broken for kind in (Kind.EVAL_GATE, Kind.GUARDED_INFERENCE) for broken in _broken_engines(kind)),
    *(
        broken
        for kind in (Kind.ALIGNMENT_RUN, Kind.EVAL_GATE, Kind.GUARDED_INFERENCE)
        for broken in _broken_places(kind)
    ),
)
"""One for each rule at each place that has it."""

TRANSITIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "model cannot be changed; make a new object with another name": {"spec.model.run.name": "another"},
    "seed cannot be changed; make a new object with another name": {"spec.seed": 43},
    "stages cannot be changed; make a new object with another name": {"spec.stages[1].dpo.beta": "0.2"},
    "stages cannot be reordered; make a new object with another name": {
        "spec.stages[0]": FULL[Kind.ALIGNMENT_RUN]["spec"]["stages"][1],
        "spec.stages[1]": FULL[Kind.ALIGNMENT_RUN]["spec"]["stages"][0],
    },
    "compute cannot be changed; make a new object with another name": {"spec.compute.memory": GONE},
    "output cannot be changed; make a new object with another name": {"spec.output.merge": True},
    "reuse cannot be changed; make a new object with another name": {"spec.reuse": GONE},
}
"""For each rule on changes of an AlignmentRun: a change of the full manifest that breaks it, and no other."""
