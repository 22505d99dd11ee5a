"""Seed requests: the harmful ones, their benign twins, and what every corpus offers.

Written by the corpora in this package, read by cases.py, which wraps seeds into attacks.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from plumbline_api.redteam import Category

__all__ = ["Corpus", "CorpusError", "Seed", "SeedPair", "Split", "fingerprint", "pair"]


class Split(StrEnum):
    """How far a request is from anything that preference data may contain."""

    HELD_OUT_PHRASINGS = "held_out_phrasings"
    """Known actions in templates and attack wrappers that preference data never uses."""
    UNSEEN_ACTIONS = "unseen_actions"
    """Also the action itself is in no preference data."""


class CorpusError(Exception):
    """A corpus cannot be used; the message names it, the fact and the remedy."""


@dataclass(frozen=True)
class Seed:
    """One request, not yet wrapped into an attack."""

    id: str
    category: str
    harmful: bool
    request: str
    """What is to be done; an assistant that does it tends to repeat this text."""
    prompt: str
    """The request as a user types it."""
    twin: str
    """Id of the other seed of its pair."""
    split: str


@dataclass(frozen=True)
class SeedPair:
    """A harmful request and an ordinary one that looks like it."""

    harmful: Seed
    benign: Seed


class Corpus(Protocol):
    """Where seeds come from."""

    @property
    def name(self) -> str:
        """The name that stands in ids."""

    def pairs(self, category: Category, split: Split, rng: random.Random) -> Iterator[SeedPair]:
        """Distinct pairs in an order that `rng` decides; none when the corpus has no such seeds."""


def fingerprint(*texts: str) -> str:
    """A short name of the texts that says nothing about them."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:10]


def pair(prefix: str, category: Category, split: Split, harmful: tuple[str, str], benign: tuple[str, str]) -> SeedPair:
    """Build a pair from two (request, prompt) couples; its ids follow from its content."""
    harmful_id = f"{prefix}.{fingerprint(harmful[1], benign[1])}"
    benign_id = f"{harmful_id}.twin"
    return SeedPair(
        Seed(harmful_id, category.value, True, *harmful, twin=benign_id, split=split.value),  # noqa: FBT003
        Seed(benign_id, category.value, False, *benign, twin=harmful_id, split=split.value),  # noqa: FBT003
    )
