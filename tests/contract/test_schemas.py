"""The committed schemas are those of the models, and everything in them is described."""

import importlib
import pkgutil
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

import plumbline_api
from plumbline_api import names, wording
from plumbline_api.docstrings import attribute_docs
from plumbline_api.metrics import MetricName
from plumbline_api.reasons import ConditionType, Reason
from plumbline_api.schemas import DOCUMENTS, schema_of, schema_text
from tests.support.checkout import ROOT

SCHEMAS = ROOT / "crds" / "schemas"


def contract_classes() -> Iterator[type[BaseModel] | type[Enum]]:
    for module in pkgutil.iter_modules(plumbline_api.__path__):
        for found in vars(importlib.import_module(f"plumbline_api.{module.name}")).values():
            if isinstance(found, type) and issubclass(found, BaseModel | Enum):
                if found.__module__.endswith(f".{module.name}"):
                    yield found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_is_committed_as_it_would_be_written(name: str) -> None:
    committed = (SCHEMAS / f"{name}.json").read_text()
    assert committed == schema_text(DOCUMENTS[name]), "run make generate and commit what it wrote"


def test_no_schema_is_left_of_a_document_that_is_gone() -> None:
    assert {path.stem for path in SCHEMAS.iterdir()} == set(DOCUMENTS)


@pytest.mark.parametrize("found", list(contract_classes()), ids=lambda found: f"{found.__module__}.{found.__name__}")
def test_every_field_and_every_value_is_described(found: type[BaseModel] | type[Enum]) -> None:
    members = list(found.model_fields) if issubclass(found, BaseModel) else list(found.__members__)
    assert found.__doc__
    assert [name for name in members if not attribute_docs(found).get(name)] == []


def test_the_vocabulary_is_described() -> None:
    for vocabulary in (Reason, ConditionType, MetricName):
        assert set(attribute_docs(vocabulary)) == set(vocabulary.__members__)


def test_descriptions_reach_the_schemas() -> None:
    schema = schema_of(DOCUMENTS["AlignmentRun-v1alpha1"])
    beta = schema["$defs"]["DpoOptions"]["properties"]["beta"]
    assert beta["description"] == "Strength of the pull towards the reference model."
    assert "- Assistant: Every assistant turn" in schema["$defs"]["LossOn"]["description"]


def test_every_pattern_of_a_manifest_has_plain_words() -> None:
    kinds = [model for name, model in DOCUMENTS.items() if name.endswith(names.VERSION) and "Status" not in name]
    found = {pattern for kind in kinds for pattern in patterns(schema_of(kind))}
    plain = set(wording._BY_PATTERN)
    assert {pattern for pattern in found - plain if not pattern.startswith(("^plumbline", *starts()))} == set()


def starts() -> tuple[str, ...]:
    """Patterns of `kind`, which is looked at before its pattern is."""
    return tuple(f"^{kind}" for kind in names.Kind)


def patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for value in schema.values():
            yield from patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns(value)
