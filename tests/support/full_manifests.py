"""One manifest per kind in which every field is given and every rule has something to say; and ways to change it."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from plumbline_api.names import API_VERSION, Kind

__all__ = ["FULL", "GONE", "Manifest", "changed", "minimal"]

Manifest = dict[str, Any]

_TRAINING: Final = {
    "dataset": {"file": {"path": "data/pairs.jsonl"}},
    "learningRate": "5e-7",
    "batchSize": 16,
    "gradientAccumulation": 2,
    "maxLength": 256,
    "warmup": "0.1",
    "weightDecay": "0.01",
    "adamBeta2": "0.98",
    "scheduler": "constant_with_warmup",
    "precision": "Bf16",
    "lora": {"r": 16, "alpha": 32, "dropout": "0.05", "target": ["q_proj", "v_proj"]},
    "saveSteps": 25,
    "timeout": "1h30m",
    "heldOut": {"file": {"path": "data/evaluation.jsonl"}},
}

_PLACE: Final = {
    "gpu": {"product": "nvidia.com/gpu", "count": 2},
    "nodeSelector": {"example.org/pool": "gpu"},
    "tolerations": [
        {"key": "example.org/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"},
        {"key": "example.org/slow", "operator": "Exists", "effect": "NoExecute"},
        {"operator": "Exists"},
    ],
}

_SPECS: Final[Mapping[Kind, Any]] = {
    Kind.ALIGNMENT_RUN: {
        "model": {"run": {"name": "earlier"}},
        "seed": 42,
        "stages": [
            {"name": "learn", "sft": _TRAINING | {"epochs": "1.5", "lossOn": "Assistant"}},
            {
                "name": "align",
                "dpo": _TRAINING
                | {
                    "maxSteps": 300,
                    "beta": "0.1",
                    "loss": ["robust", "sft"],
                    "lossWeights": ["1", "0.2"],
                    "labelSmoothing": "0.1",
                },
            },
        ],
        "compute": {"nodes": 4, "cpu": "500m", "memory": "4Gi", **_PLACE},
        "output": {"merge": False, "sign": {"secret": "signing-key"}},
        "reuse": "Never",
        "queue": {"name": "gpu-queue", "priorityClass": "research"},
        "suspend": True,
        "ttlSecondsAfterFinished": 86400,
    },
    Kind.RED_TEAM_SUITE: {
        "categories": ["self_harm", "violence"],
        "attacks": [
            {"direct": {}},
            {"rolePlay": {}},
            {"promptInjection": {"variants": ["dan", "indirect_in_document"]}},
            {"socialEngineering": {"variants": ["grandmother"]}},
            {"contextManipulation": {"turns": 4, "variants": ["escalation", "jargon"]}},
        ],
        "corpora": [{"builtin": "task-assistant"}, {"package": "harmbench"}],
        "judges": [{"rules": {}}],
        "samples": {"minPerCategory": 59, "max": 1200, "seed": 7},
        "generation": {"maxTokens": 64, "temperature": "0.7", "timeout": "30s", "retries": 3, "concurrency": 16},
        "systemPrompt": "You manage tasks.",
    },
    Kind.EVAL_GATE: {
        "subject": {"alignmentRun": {"name": "run"}},
        "baseline": {"file": {"path": "build/base"}},
        "suites": [{"name": "attacks"}, {"name": "more-attacks"}],
        "rules": [
            {
                "metric": "harmful_compliance_rate{split=unseen_actions}",
                "reductionFromBaseline": "0.95",
                "confidence": "0.95",
                "minSamples": 100,
                "enforcement": "Required",
            },
            {
                "metric": "harmful_refusal_rate{category=self_harm}",
                "atLeast": "0.9",
                "minSamples": 30,
                "enforcement": "Reported",
            },
            {"metric": "false_refusal_rate", "atMost": "0.05", "minSamples": 30, "enforcement": "Required"},
            {
                "metric": "legitimate_completion_rate",
                "notWorseThanBaselineBy": "0.01",
                "minSamples": 30,
                "enforcement": "Reported",
            },
        ],
        "engine": {"type": "vllm", "args": {"max-model-len": "4096", "enforce-eager": "true"}},
        "compute": {"nodes": 1, "cpu": "1", "memory": "2Gi", **_PLACE},
    },
    Kind.GUARDED_INFERENCE: {
        "gate": {"name": "gate"},
        "engine": {"type": "vllm", "args": {"dtype": "bfloat16"}, "maxTokens": 128},
        "compute": {"nodes": 1, "cpu": "1.5", "memory": "2Gi", **_PLACE},
        "guard": {
            "rules": {"configMap": {"name": "guard-rules"}},
            "refusal": {"text": "I can't help with that."},
            "systemPrompt": "You manage tasks.",
            "limits": {"maxPromptBytes": 16384, "concurrency": 8},
        },
        "replicas": 2,
    },
}

FULL: Final[Mapping[Kind, Manifest]] = {
    kind: {
        "apiVersion": API_VERSION,
        "kind": kind.value,
        "metadata": {"name": "full", "labels": {"app": "assistant"}, "annotations": {"example.org/Note": "any text"}},
        "spec": copy.deepcopy(spec),
    }
    for kind, spec in _SPECS.items()
}
"""The manifests, by kind."""

_STAGE: Final = {"learningRate": "1e-4", "epochs": "1", "dataset": {"file": {"path": "data.jsonl"}}}
_LEAST: Final[Mapping[Kind, Any]] = {
    Kind.ALIGNMENT_RUN: {"model": {"file": {"path": "base"}}, "stages": [{"name": "learn", "sft": _STAGE}]},
    Kind.RED_TEAM_SUITE: {"attacks": [{"direct": {}}], "corpora": [{"builtin": "task-assistant"}]},
    Kind.EVAL_GATE: {
        "subject": {"file": {"path": "model"}},
        "suites": [{"name": "attacks"}],
        "rules": [{"metric": "false_refusal_rate", "atMost": "0"}],
    },
    Kind.GUARDED_INFERENCE: {"gate": {"name": "gate"}},
}


def minimal(kind: Kind) -> Manifest:
    """A manifest with nothing that may be left out."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind.value,
        "metadata": {"name": "minimal"},
        "spec": copy.deepcopy(_LEAST[kind]),
    }


GONE: Final = object()
"""In the place of a value: the field is taken away."""


def changed(manifest: Manifest, changes: Mapping[str, Any]) -> Manifest:
    """The manifest with other values at paths such as `spec.stages[1].dpo.beta`; it shares what stays as it was."""
    for path, value in changes.items():
        parts = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)]
        manifest = _replaced(manifest, parts, value)
    return manifest


def _replaced(here: Any, parts: Sequence[str | int], value: Any) -> Any:
    copied = here.copy()
    first, *rest = parts
    if rest:
        copied[first] = _replaced(here[first], rest, value)
    elif value is GONE:
        del copied[first]
    else:
        copied[first] = value
    return copied
