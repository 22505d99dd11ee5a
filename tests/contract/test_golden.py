"""Files of every version that was ever written are read, mean the same, and show every field there is.

The files are never edited after a release: a change that cannot read them needs a new version beside the old one.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.alignment import DpoOptions, SftOptions
from plumbline_api.artifact import Manifest
from plumbline_api.configmap import ConfigMap
from plumbline_api.manifests import Object, parse_manifests, parse_rules
from plumbline_api.model import Document
from plumbline_api.names import SUMMARY_LIMIT_BYTES
from plumbline_api.positions import read_documents
from plumbline_api.report import Summary
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Work
from plumbline_api.schemas import DOCUMENTS

GOLDEN = Path(__file__).parent / "golden"
MANIFESTS = sorted(path.stem for path in GOLDEN.glob("*-v1alpha1.yaml"))
JSON_FILES = sorted(path.stem for path in GOLDEN.glob("*.json"))


def objects(name: str) -> list[Object]:
    found = parse_manifests((GOLDEN / f"{name}.yaml").read_text(), f"{name}.yaml")
    assert found.problems == ()
    return [item.object for item in found.objects]


def documents(name: str) -> list[Document]:
    """The documents of a golden file, read as programs read them."""
    if name in MANIFESTS:
        return list(objects(name))
    if name == "GuardRules-v1":
        rules = parse_rules((GOLDEN / f"{name}.yaml").read_text(), name)
        assert isinstance(rules, GuardRules)
        return [rules]
    return [DOCUMENTS[name].read((GOLDEN / f"{name}.json").read_bytes())]


def test_every_document_has_a_golden_file() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(DOCUMENTS)


@pytest.mark.parametrize("name", [*MANIFESTS, "GuardRules-v1"])
def test_a_manifest_means_what_it_says(name: str) -> None:
    written = [source.data for source in read_documents((GOLDEN / f"{name}.yaml").read_text())]
    assert [document.dump() for document in documents(name)] == written


@pytest.mark.parametrize("name", JSON_FILES)
def test_a_file_is_written_as_it_was_read(name: str) -> None:
    (document,) = documents(name)
    assert document.pretty() == (GOLDEN / f"{name}.json").read_text()
    assert document.dump() == json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_golden_file_shows_every_field(name: str) -> None:
    shown: dict[type[Document], set[str]] = {}
    for document in documents(name):
        for part in parts(document):
            given = {field for field in type(part).model_fields if getattr(part, field) is not None}
            shown.setdefault(type(part), set()).update(given)
    missing = {
        f"{kind.__name__}.{field}"
        for kind, fields in shown.items()
        for field in set(kind.model_fields) - fields
        if (kind, field) not in ELSEWHERE
    }
    assert missing == set()


ELSEWHERE = {
    (Summary, "report"),
    (Work, "sft"),
    (Work, "red_team"),
    (DpoOptions, "max_steps"),
    (SftOptions, "max_steps"),
}
"""Fields that cannot all stand in one file, or that another golden file shows."""


def parts(value: Any) -> Iterator[Document]:
    """A document and every document inside it."""
    if isinstance(value, Document):
        yield value
        for field in type(value).model_fields:
            yield from parts(getattr(value, field))
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from parts(item)


@pytest.mark.parametrize("name", JSON_FILES)
def test_a_version_from_the_future_or_an_unknown_field_is_refused(name: str) -> None:
    data = json.loads((GOLDEN / f"{name}.json").read_text())
    with pytest.raises(ValueError, match="Extra inputs"):
        DOCUMENTS[name].parse(data | {"brandNew": 1})
    if "version" in data:
        with pytest.raises(ValueError, match="Input should be 1"):
            DOCUMENTS[name].parse(data | {"version": 2})


def test_the_digest_of_a_manifest_never_changes() -> None:
    manifest = Manifest.read((GOLDEN / "Manifest-v1.json").read_bytes())
    assert manifest.digest == "sha256:e315108e9370924e94e813d540c51eb237f3c8693fae61b4a7fd15709cd1bca2"


def test_a_summary_fits_a_termination_message() -> None:
    assert len((GOLDEN / "Summary-v1.json").read_bytes()) < SUMMARY_LIMIT_BYTES


def test_a_config_map_is_core_kubernetes() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n"
    (item,) = parse_manifests(text, "x.yaml").objects
    assert isinstance(item.object, ConfigMap)
    assert item.object.data == {"a": "b"}
