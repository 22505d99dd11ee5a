"""The CustomResourceDefinitions of the four kinds, written from the models; the only generator of CRDs.

`python -m plumbline_api.crd DIR` writes `DIR/<plural>.plumbline.dev.yaml`; they are committed, and a test compares.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from plumbline_api.alignment import AlignmentRunSpec, AlignmentRunStatus
from plumbline_api.docstrings import attribute_docs
from plumbline_api.gate import EvalGateSpec, EvalGateStatus
from plumbline_api.guarded import GuardedInferenceSpec, GuardedInferenceStatus
from plumbline_api.meta import ObjectMeta
from plumbline_api.model import Document
from plumbline_api.names import CATEGORY, GROUP, PLURALS, SHORT_NAMES, VERSION, Kind
from plumbline_api.reasons import ConditionType
from plumbline_api.redteam import RedTeamSuiteSpec, RedTeamSuiteStatus
from plumbline_api.structural import structural_schema

__all__ = ["RESOURCES", "Column", "Resource", "crd_of", "crd_text", "filename_of"]

HEADER: Final = "# Written by `make generate` from the models in crds/src/plumbline_api. Change those, not this file.\n"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False
    """Shown with `-o wide` only."""

    @property
    def schema(self) -> dict[str, Any]:
        """An entry of `additionalPrinterColumns`."""
        entry = {"name": self.name, "type": self.type, "jsonPath": self.path, "description": self.description}
        return entry | ({"priority": 1} if self.wide else {})


@dataclass(frozen=True)
class Resource:
    """What the API server is told of a kind."""

    spec: type[Document]
    status: type[Document]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...]
    """Fields that `--field-selector` knows."""


def _condition(kind: ConditionType, *, part: str = "status", name: str = "", wide: bool = False) -> Column:
    """A column that finds a condition by its type, wherever in the list it stands."""
    path = f'.status.conditions[?(@.type=="{kind}")].{part}'
    words = {"status": f"Whether {kind} is so.", "reason": f"Why {kind} is so or not.", "message": "The same in words."}
    return Column(name or kind.value, path, words[part], wide=wide)


_PHASE: Final = Column("Phase", ".status.phase", "The conditions in one word.")
_REASON: Final = _condition(ConditionType.READY, part="reason", name="Reason")
_MESSAGE: Final = _condition(ConditionType.READY, part="message", name="Message", wide=True)
_AGE: Final = Column("Age", ".metadata.creationTimestamp", "When the object was made.", type="date")
_RUNNING: Final = '.status.stages[?(@.state=="Running")]'

RESOURCES: Final[Mapping[Kind, Resource]] = {
    Kind.ALIGNMENT_RUN: Resource(
        AlignmentRunSpec,
        AlignmentRunStatus,
        (
            Column("Method", ".status.stages[-1:].type", "What the last stage does."),
            _PHASE,
            Column("Stage", f"{_RUNNING}.name", "The stage that is at work."),
            Column("Progress", f"{_RUNNING}.progress.progressPercentage", "Percent of that stage.", type="integer"),
            _REASON,
            _condition(ConditionType.SUCCEEDED, wide=True),
            Column("Attempt", ".status.attempt", "How often the run was started.", type="integer", wide=True),
            Column("Output", ".status.output", "Digest of the aligned model.", wide=True),
            _MESSAGE,
            _AGE,
        ),
        (".spec.model.run.name", ".status.phase"),
    ),
    Kind.RED_TEAM_SUITE: Resource(
        RedTeamSuiteSpec,
        RedTeamSuiteStatus,
        (
            _condition(ConditionType.READY),
            _PHASE,
            _condition(ConditionType.EXECUTED),
            _REASON,
            _MESSAGE,
            _AGE,
        ),
        (".status.phase",),
    ),
    Kind.EVAL_GATE: Resource(
        EvalGateSpec,
        EvalGateStatus,
        (
            Column("Verdict", ".status.verdict", "What the gate says of its subject."),
            _PHASE,
            Column("Progress", ".status.progress.progressPercentage", "Percent of the execution.", type="integer"),
            _REASON,
            _condition(ConditionType.COMPLETED, wide=True),
            _condition(ConditionType.PASSED, wide=True),
            Column("Subject", ".status.subject", "Digest of the model that was judged.", wide=True),
            _MESSAGE,
            _AGE,
        ),
        (".spec.subject.alignmentRun.name", ".status.phase", ".status.verdict"),
    ),
    Kind.GUARDED_INFERENCE: Resource(
        GuardedInferenceSpec,
        GuardedInferenceStatus,
        (
            _condition(ConditionType.READY),
            _PHASE,
            Column("Gate", ".spec.gate.name", "The gate that lets models pass."),
            _REASON,
            _condition(ConditionType.GATE_SATISFIED, wide=True),
            _condition(ConditionType.MODEL_READY, wide=True),
            _condition(ConditionType.GUARD_READY, wide=True),
            Column("Model", ".status.stable.digest", "Digest of the model that is served.", wide=True),
            Column("Endpoint", ".status.stable.endpoint", "Where clients reach the guard.", wide=True),
            _MESSAGE,
            _AGE,
        ),
        (".spec.gate.name", ".status.phase"),
    ),
}
"""What each kind is to the API server."""


def crd_of(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, as JSON data."""
    plural, resource = PLURALS[kind], RESOURCES[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.value,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [SHORT_NAMES[kind]],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.schema for column in resource.columns],
                    "selectableFields": [{"jsonPath": path} for path in resource.selectable],
                    "schema": {"openAPIV3Schema": _root(kind, resource)},
                }
            ],
        },
    }


def _root(kind: Kind, resource: Resource) -> dict[str, Any]:
    status = structural_schema(resource.status, "status")
    name = structural_schema(ObjectMeta, "metadata")["properties"]["name"]
    return {
        "description": attribute_docs(Kind)[kind.name],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": "Group and version of this object.", "type": "string"},
            "kind": {"description": "Kind of this object.", "type": "string"},
            # A CRD may say no more of metadata than this; the API server itself knows the rest.
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": structural_schema(resource.spec, "spec"),
            # Present from the start, so that no tool takes an object that the operator has not seen for a settled one.
            "status": {"description": status.pop("description"), "type": status.pop("type"), "default": {}, **status},
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes every value out (the same object twice is not an anchor and an alias), and lines as lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def crd_text(kind: Kind) -> str:
    """The text of a CRD file."""
    return HEADER + yaml.dump(crd_of(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def filename_of(kind: Kind) -> str:
    """The name of a kind's file."""
    return f"{PLURALS[kind]}.{GROUP}.yaml"


def main(folder: str) -> None:
    """Write every CRD into a folder."""
    for kind in RESOURCES:
        (Path(folder) / filename_of(kind)).write_text(crd_text(kind), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
