"""Random valid documents of the contract, made from the models' own annotations and constraints.

Used by property tests: what a model allows must survive being written and read.
"""

import re
import typing
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from plumbline_api.alignment import AlignmentRunSpec, TrainingOptions
from plumbline_api.artifact import Manifest
from plumbline_api.configmap import ConfigMap
from plumbline_api.gate import Comparator, EvalGateSpec, Rule
from plumbline_api.model import Document
from plumbline_api.redteam import RedTeamSuiteSpec
from plumbline_api.rules import GuardRule, GuardRules
from plumbline_api.sources import OneOf

__all__ = ["documents"]

SAMPLES = (
    "a", "run-1", "x" * 40, "0", "1", "0.05", "0.95", "12.5", "5e-7", "1h30m", "90s", "500m", "4Gi",
    "sha256:" + "0a" * 32,
)  # fmt: skip
"""Texts that the patterns of the contract allow (drawing from patterns takes ten times as long)."""


def _as_it_is(data: dict[str, Any]) -> dict[str, Any]:
    return data


def _one_length(data: dict[str, Any]) -> dict[str, Any]:
    """Exactly one of epochs and maxSteps; weights that fit the losses."""
    data.pop("maxSteps" if "epochs" in data else "epochs", None)
    if "maxSteps" not in data:
        data["epochs"] = "2"
    if "lossWeights" in data:
        data["lossWeights"] = ["0.5"] * len(data.get("loss", ["sigmoid"]))
    if "labelSmoothing" in data or "robust" in data.get("loss", []):
        data["labelSmoothing"] = "0.1"
    return data


def _one_comparator(data: dict[str, Any]) -> dict[str, Any]:
    given = [arm for arm in Comparator if arm in data] or [Comparator.AT_MOST]
    data = {key: value for key, value in data.items() if key not in tuple(Comparator)}
    metric = "false_refusal_rate" if "baseline" in given[0].lower() else "false_refusal_rate{category=violence}"
    return data | {"metric": metric, given[0]: "0.05"} | ({"confidence": "0.95"} if "confidence" in data else {})


def _own_names(field: str, key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Give the entries of a list names of their own."""

    def repair(data: dict[str, Any]) -> dict[str, Any]:
        entries = [entry | {key: f"n{number}"} for number, entry in enumerate(data.get(field, ()))]
        return data | ({field: entries} if entries else {})

    return repair


def _gate(data: dict[str, Any]) -> dict[str, Any]:
    return _own_names("suites", "name")(data) | {"baseline": {"file": {"path": "base"}}}


def _suite(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"attacks": list({next(iter(attack)): attack for attack in data["attacks"]}.values())}


def _guard_rule(data: dict[str, Any]) -> dict[str, Any]:
    data = {key: value for key, value in data.items() if key != "pattern"}
    return data if data.get("phrases") else {key: data[key] for key in data if key != "phrases"} | {"pattern": "a+b"}


REPAIRS: dict[type, Callable[[dict[str, Any]], dict[str, Any]]] = {
    TrainingOptions: _one_length,
    AlignmentRunSpec: _own_names("stages", "name"),
    Rule: _one_comparator,
    EvalGateSpec: _gate,
    RedTeamSuiteSpec: _suite,
    GuardRule: _guard_rule,
    GuardRules: _own_names("rules", "id"),
    ConfigMap: lambda data: data | {"data": {f"text-{key}": text for key, text in data.get("data", {}).items()}},
    Manifest: lambda data: data | {"files": [{"path": "a/b", "sha256": "0" * 64, "size": 3}]},
}
"""What the rules between fields ask for."""

D = TypeVar("D", bound=Document)

TEXT = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=12)


def documents(model: type[D]) -> st.SearchStrategy[D]:
    """Valid documents of a model."""

    @st.composite
    def build(draw: st.DrawFn) -> D:
        data = draw(_data(model))
        try:
            return model.parse(data)
        except ValidationError:
            reject()

    return build()


@cache
def _data(model: type[Document]) -> st.SearchStrategy[dict[str, Any]]:
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        found = required if field.is_required() else optional
        found[field.alias or name] = _value(field.annotation, field.metadata)
    repair = next((REPAIRS[parent] for parent in model.__mro__ if parent in REPAIRS), _as_it_is)
    if issubclass(model, OneOf):
        arms = [st.fixed_dictionaries({**required, arm: value}) for arm, value in optional.items()]
        return st.one_of(arms).map(repair)
    return st.fixed_dictionaries(required, optional=optional).map(repair)


def _value(annotation: Any, outer: Sequence[Any] = ()) -> st.SearchStrategy[Any]:
    metadata = list(outer)
    while hasattr(annotation, "__metadata__"):
        for entry in annotation.__metadata__:
            metadata += entry.metadata if isinstance(entry, FieldInfo) else [entry]
        annotation = typing.get_args(annotation)[0]
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, UnionType):
        return _value(next(part for part in arguments if part is not NoneType), metadata)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        least, most = _bounds(metadata, 3)
        unique = repr if isinstance(arguments[0], type) and issubclass(arguments[0], Enum) else None
        return st.lists(_value(arguments[0]), min_size=least, max_size=most, unique_by=unique)
    if origin is dict:
        least, most = _bounds(metadata, 3)
        return st.dictionaries(_value(arguments[0]), _value(arguments[1]), min_size=least, max_size=most)
    return _leaf(annotation, metadata)


def _leaf(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    if issubclass(annotation, Document):
        return st.deferred(lambda: _data(annotation))
    if issubclass(annotation, Enum):
        return st.sampled_from([member.value for member in annotation])
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        least, most = _first(metadata, "ge"), _first(metadata, "le")
        return st.integers(0 if least is None else least, 2**31 if most is None else most)
    if annotation is float:
        return st.floats(allow_nan=False, allow_infinity=False, width=32)
    if annotation is datetime:
        moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
        return moments.map(lambda moment: moment.replace(microsecond=0).isoformat())
    if (pattern := _first(metadata, "pattern")) is not None:
        if any(re.fullmatch(pattern, sample) for sample in SAMPLES):
            return st.sampled_from([sample for sample in SAMPLES if re.fullmatch(pattern, sample)])
        return st.from_regex(pattern.removeprefix("^").removesuffix("$"), fullmatch=True)
    least, most = _bounds(metadata, 12)
    return TEXT.filter(lambda text: least <= len(text) <= most)


def _bounds(metadata: list[Any], usual: int) -> tuple[int, int]:
    least, most = _first(metadata, "min_length") or 0, _first(metadata, "max_length")
    return least, max(least, usual if most is None else min(most, usual))


def _first(metadata: list[Any], name: str) -> Any:
    return next((value for entry in metadata if (value := getattr(entry, name, None)) is not None), None)
