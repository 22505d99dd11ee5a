"""JSON schemas of every document, with the descriptions that stand in the source.

`python -m plumbline_api.schemas DIR` writes them; they are committed, so that a change of the contract is seen in
review, and editors can use them. A test compares what is committed with what would be written.
"""

import json
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from plumbline_api.alignment import AlignmentRun, AlignmentRunStatus
from plumbline_api.artifact import Manifest
from plumbline_api.docstrings import attribute_docs
from plumbline_api.gate import EvalGate, EvalGateStatus
from plumbline_api.guarded import GuardedInference, GuardedInferenceStatus
from plumbline_api.model import Document
from plumbline_api.names import VERSION
from plumbline_api.policyfile import PolicyFile
from plumbline_api.progress import Progress
from plumbline_api.redteam import RedTeamSuite, RedTeamSuiteStatus
from plumbline_api.report import Report, Summary
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import RunFile

__all__ = ["DOCUMENTS", "Described", "schema_of", "schema_text"]

DOCUMENTS: Final[Mapping[str, type[Document]]] = {
    f"AlignmentRun-{VERSION}": AlignmentRun,
    f"AlignmentRunStatus-{VERSION}": AlignmentRunStatus,
    f"RedTeamSuite-{VERSION}": RedTeamSuite,
    f"RedTeamSuiteStatus-{VERSION}": RedTeamSuiteStatus,
    f"EvalGate-{VERSION}": EvalGate,
    f"EvalGateStatus-{VERSION}": EvalGateStatus,
    f"GuardedInference-{VERSION}": GuardedInference,
    f"GuardedInferenceStatus-{VERSION}": GuardedInferenceStatus,
    "GuardRules-v1": GuardRules,
    "Manifest-v1": Manifest,
    "PolicyFile-v1": PolicyFile,
    "Progress-v1": Progress,
    "Report-v1": Report,
    "RunFile-v1": RunFile,
    "Summary-v1": Summary,
}
"""Every document that is written by one program (or person) and read by another, by name and version."""

WRITTEN_BY_PEOPLE: Final = frozenset({AlignmentRun, RedTeamSuite, EvalGate, GuardedInference, GuardRules})


class Described(GenerateJsonSchema):
    """Adds the docstrings of fields and enum members."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """With the descriptions of fields."""
        found = super().model_schema(schema)
        model = schema["cls"]
        docs = attribute_docs(model)
        for name, field in model.model_fields.items():
            wire = field.alias or name
            if name in docs and wire in found.get("properties", {}):
                found["properties"][wire]["description"] = docs[name]
        return found

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        """Note the enum; its definition gets a description in the end."""
        self._kinds[schema["cls"].__name__] = schema["cls"]
        return super().enum_schema(schema)

    def generate(self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """With the descriptions of enum members."""
        self._kinds: dict[str, type[Enum]] = {}
        found = super().generate(schema, mode)
        for name, kind in self._kinds.items():
            docs = attribute_docs(kind)
            lines = [f"- {member.value}: {docs[member.name]}" for member in kind if member.name in docs]
            found["$defs"][name]["description"] = "\n".join([str(kind.__doc__), "", *lines])
        return found


def schema_of(model: type[Document]) -> dict[str, Any]:
    """The JSON schema of a document on the wire: as people may write it, or as programs do write it."""
    mode: JsonSchemaMode = "validation" if model in WRITTEN_BY_PEOPLE else "serialization"
    schema = model.model_json_schema(by_alias=True, schema_generator=Described, mode=mode)
    return {"$schema": Described.schema_dialect, **schema}


def schema_text(model: type[Document]) -> str:
    """The text of a schema file."""
    return json.dumps(schema_of(model), indent=2, ensure_ascii=False) + "\n"


def main(folder: str) -> None:
    """Write every schema into a folder."""
    for name, model in DOCUMENTS.items():
        (Path(folder) / f"{name}.json").write_text(schema_text(model), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
