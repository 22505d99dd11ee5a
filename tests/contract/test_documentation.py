"""The pages of the kinds: tables as the models are, examples that are read without a problem."""

import re
from pathlib import Path

import pytest

from plumbline_api import pages
from plumbline_api.manifests import parse_manifests
from plumbline_api.references import ObjectName, check_references
from plumbline_api.schemas import DOCUMENTS, schema_of
from tests.support.checkout import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
KIND_PAGES = ["alignmentrun.md", "redteamsuite.md", "evalgate.md", "guardedinference.md"]
SKELETON = ["Example", "Writing a spec", "Status", "Conditions"]
ELSEWHERE = {
    ObjectName("AlignmentRun", "default", "task-assistant"),
    ObjectName("RedTeamSuite", "default", "task-assistant-attacks"),
    ObjectName("EvalGate", "default", "task-assistant"),
}
"""What the examples of the pages refer to on other pages."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_as_they_would_be_written(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == pages.fill(text), "run make generate and commit what it wrote"


@pytest.mark.parametrize("name", KIND_PAGES)
def test_a_page_of_a_kind_has_the_same_skeleton(name: str) -> None:
    headings = re.findall(r"^## (.+)$", (DOCS / name).read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading in SKELETON] == SKELETON


@pytest.mark.parametrize("name", KIND_PAGES)
def test_the_example_of_a_page_is_valid(name: str) -> None:
    (example,) = re.findall(r"^## Example\n+```yaml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL | re.MULTILINE)
    found = parse_manifests(example, name)
    assert found.problems == ()
    assert found.objects[0].object.kind.lower() == name.removesuffix(".md")
    assert check_references(found.objects, ELSEWHERE) == ()


@pytest.mark.parametrize("name", KIND_PAGES)
def test_a_page_shows_every_block_of_its_kind(name: str) -> None:
    schema = schema_of(next(model for key, model in DOCUMENTS.items() if key.lower() == f"{name[:-3]}-v1alpha1"))
    blocks = {block for block, definition in schema["$defs"].items() if definition.get("properties")}
    shown = set(re.findall(r"<!-- fields (\w+) -->", (DOCS / name).read_text()))
    assert blocks - shown - IN_WORDS == set()


IN_WORDS = {
    "ObjectMeta", "NamedRef", "FileSource", "DatasetSource", "RulesSource", "Judge",
    "Gpu", "Toleration", "Queue",
    "PromptInjection", "SocialEngineering", "ContextManipulation",
}  # fmt: skip
"""Blocks that a sentence or the example tells, or that another page shows."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([\w./-]+\.md)?(#)?([\w-]+)?\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists()
        titles = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
        assert not anchor or anchor in {title.lower().replace(" ", "-") for title in titles}
