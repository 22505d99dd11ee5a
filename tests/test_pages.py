"""What README and CONTRIBUTING claim is true: the length, the make targets, the paths."""

import re
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, tracked

MAX_README = 120


def targets() -> set[str]:
    """What make can be asked for."""
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_readme_fits_120_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_a_page_names_only_make_targets_that_exist(page: str) -> None:
    named = set(re.findall(r"(?:`|^\$? *)make ([a-z0-9-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named
    assert named <= targets()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_a_page_names_only_paths_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    known = {str(path.relative_to(ROOT)) for path in tracked()} | {path.name for path in tracked()}
    folders = {str(parent) for name in known for parent in Path(name).parents}
    named = set(re.findall(r"\]\(([^)#:]+)\)", text))
    named |= set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:md|py|toml|yaml|txt))`", text))
    named |= set(re.findall(r"-f ((?:[\w.-]+/)+[\w.-]*)", text))
    named = {name for name in named if not name.startswith(".plumbline")}
    assert not [name for name in named if name.rstrip("/") not in known | folders]


def test_every_make_target_is_explained() -> None:
    explained = set(re.findall(r"^([a-z0-9-]+):.* ## \S", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert explained == targets()
