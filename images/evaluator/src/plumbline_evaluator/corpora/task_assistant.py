"""The task-assistant domain: its tables, how a wording is drawn from them, and the held-out seeds.

The tables stand in task_assistant.yaml. The corpus asks with held-out templates, people and things only;
whoever makes training data for this domain draws from the other side, and `is_held_out` tells the sides apart.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from itertools import cycle
from string import Formatter
from typing import Any

import yaml

from plumbline_api.redteam import Category
from plumbline_evaluator.corpora.seeds import SeedPair, Split, pair

__all__ = ["Action", "Actions", "Domain", "Pool", "TaskAssistant", "Values", "Wording", "load_domain"]

_TIME_SHARE = 0.5
_PATIENCE = 400
"""Draws in a row without a new prompt after which the tables count as exhausted."""


class Pool(StrEnum):
    """Which side of a table to draw from."""

    TRAIN = "train"
    HELD_OUT = "held_out"
    ANY = "any"


@dataclass(frozen=True)
class Values:
    """The two sides of one table."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def of(self, pool: Pool) -> tuple[str, ...]:
        """The side that `pool` names."""
        return {Pool.TRAIN: self.train, Pool.HELD_OUT: self.held_out, Pool.ANY: self.train + self.held_out}[pool]


@dataclass(frozen=True)
class Action:
    """A harmful action and its benign look-alike, with slots in braces."""

    harmful: str
    benign: str


@dataclass(frozen=True)
class Actions:
    """The actions of one category."""

    known: tuple[Action, ...]
    unseen: tuple[Action, ...]

    def of(self, split: Split) -> tuple[Action, ...]:
        """The actions that belong to a split."""
        return self.known if split is Split.HELD_OUT_PHRASINGS else self.unseen


@dataclass(frozen=True)
class Wording:
    """The values drawn for one request; pairs share theirs."""

    slots: Mapping[str, str]
    time: str

    def render(self, pattern: str) -> str:
        """The action in words."""
        return pattern.format(**self.slots) + (f" {self.time}" if self.time else "")


@dataclass(frozen=True)
class Domain:
    """All tables."""

    templates: Values
    times: Values
    slots: Mapping[str, Values]
    categories: Mapping[Category, Actions]

    def draw(self, patterns: tuple[str, ...], pool: Pool, rng: random.Random) -> Wording:
        """Draw one value for each slot of the patterns, and a time for half of them."""
        names = sorted({name for pattern in patterns for _, name, _, _ in Formatter().parse(pattern) if name})
        slots = {name: rng.choice(self.slots[name].of(pool)) for name in names}
        return Wording(slots, rng.choice(self.times.of(pool)) if rng.random() < _TIME_SHARE else "")

    def is_held_out(self, template: str, wording: Wording) -> bool:
        """Whether a prompt of this template and wording may be asked by the corpus.

        Training data contains no prompt for which this is true: the corpus asks with a held-out template
        and held-out values only, so one value of the training side puts a prompt out of its reach.
        """
        values = [(self.slots[name], value) for name, value in wording.slots.items()]
        values += [(self.times, wording.time)] if wording.time else []
        return template in self.templates.held_out and all(value in table.held_out for table, value in values)


@dataclass(frozen=True)
class TaskAssistant:
    """The corpus of held-out seeds."""

    domain: Domain
    name: str = "task-assistant"

    def pairs(self, category: Category, split: Split, rng: random.Random) -> Iterator[SeedPair]:
        """Held-out wordings of the split's actions, each action in turn."""
        actions = self.domain.categories[category].of(split)
        order = rng.sample(range(len(actions)), len(actions))
        seen: set[str] = set()
        idle = 0
        for index in cycle(order):
            found = self._pair(category, split, index, rng)
            if found.harmful.prompt in seen or found.benign.prompt in seen:
                idle += 1
                if idle > _PATIENCE:
                    return
                continue
            idle = 0
            seen |= {found.harmful.prompt, found.benign.prompt}
            yield found

    def _pair(self, category: Category, split: Split, index: int, rng: random.Random) -> SeedPair:
        action = self.domain.categories[category].of(split)[index]
        wording = self.domain.draw((action.harmful, action.benign), Pool.HELD_OUT, rng)
        template = rng.choice(self.domain.templates.held_out)
        harmful, benign = wording.render(action.harmful), wording.render(action.benign)
        kind = "known" if split is Split.HELD_OUT_PHRASINGS else "unseen"
        return pair(
            f"{self.name}.{category.value}.{kind}-{index + 1:02}",
            category,
            split,
            (harmful, template.format(x=harmful)),
            (benign, template.format(x=benign)),
        )


def load_domain() -> Domain:
    """Read the tables that ship with this package."""
    text = resources.files(__package__).joinpath("task_assistant.yaml").read_text(encoding="utf-8")
    tables: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return Domain(
        templates=_values(tables["templates"]),
        times=_values(tables["times"]),
        slots={name: _values(table) for name, table in tables["slots"].items()},
        categories={
            Category(name): Actions(
                known=tuple(Action(**row) for row in table["known"]),
                unseen=tuple(Action(**row) for row in table["unseen"]),
            )
            for name, table in tables["categories"].items()
        },
    )


def _values(table: dict[str, list[str]]) -> Values:
    return Values(train=tuple(table["train"]), held_out=tuple(table["held_out"]))
