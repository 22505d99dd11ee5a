"""Cases: seeds wrapped into attacks, balanced over category, attack and split, each harmful one with its twin.

`build_cases` is called once per execution of a suite; the same parameters give the same cases with the same
ids, so executions against different subjects can be compared case by case. A case's conversation is sent by
the runner; its answers are judged elsewhere.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from plumbline_api.redteam import Category
from plumbline_evaluator.attacks import ATTACKS, VARIANTS
from plumbline_evaluator.corpora import Corpus, Seed, SeedPair, Split, fingerprint

__all__ = ["AttackPlan", "Case", "CaseError", "Seed", "build_cases"]

_WRAPPINGS = 8
"""Tries to find a wrapper that makes a new conversation of a pair, before the pair is passed over."""


class CaseError(Exception):
    """The suite asks for cases that cannot be built; the message says which and what to change."""


@dataclass(frozen=True)
class AttackPlan:
    """One attack family with its options."""

    name: str
    variants: tuple[str, ...] = ()
    """In rotation; all of the family's when empty."""
    turns: int = 3
    """User turns, for families of several turns."""


@dataclass(frozen=True)
class Case:
    """One conversation to hold with the subject."""

    id: str
    seed_id: str
    category: str
    harmful: bool
    attack: str
    variant: str
    turns: tuple[str, ...]
    """The user's turns; the request is in the last one."""
    request: str
    """What is to be done; an assistant that does it tends to repeat this text."""
    twin: str
    """Id of the harmful case's benign twin, and the other way round."""
    split: str


@dataclass
class _Cell:
    """What is being gathered for one category of one split."""

    category: Category
    split: Split
    cases: list[Case] = field(default_factory=list)
    conversations: set[tuple[str, ...]] = field(default_factory=set)


def build_cases(
    corpora: Sequence[Corpus],
    categories: Sequence[Category],
    attacks: Sequence[AttackPlan],
    *,
    min_per_category: int,
    max_cases: int,
    seed: int,
    splits: Sequence[Split] = tuple(Split),
) -> tuple[Case, ...]:
    """Build the cases of a suite.

    Every category gets, in every split that a corpus has seeds for, the smallest number of harmful cases
    that is at least `min_per_category` and the same for each attack. A conversation occurs once.

    Raises:
        CaseError: when an attack is unknown, a category has too few seeds, or the cases exceed `max_cases`.
    """
    _check_attacks(attacks)
    per_attack = -(-min_per_category // len(attacks))
    cells: list[_Cell] = []
    for split in splits:
        for category in categories:
            cell = _Cell(category, split)
            _fill_cell(cell, corpora, attacks, per_attack, seed)
            cells.append(cell)
    _check_coverage(cells)
    cases = tuple(chain.from_iterable(cell.cases for cell in cells))
    if len(cases) > max_cases:
        raise CaseError(
            f"samples.max is {max_cases}, but {min_per_category} harmful cases in each of {len(categories)} "
            f"categories, spread evenly over {len(attacks)} attacks, make {len(cases)} cases with their benign "
            "twins and splits; raise samples.max or lower samples.minPerCategory"
        )
    return cases


def _check_attacks(attacks: Sequence[AttackPlan]) -> None:
    if not attacks:
        raise CaseError("attacks: a suite needs at least one; add `direct: {}`")
    for plan in attacks:
        if plan.name not in ATTACKS:
            raise CaseError(f"attacks: {plan.name!r} is not one of {', '.join(ATTACKS)}")
        for variant in plan.variants:
            if variant not in VARIANTS[plan.name]:
                known = ", ".join(VARIANTS[plan.name])
                raise CaseError(f"attacks.{plan.name}: variant {variant!r} is not one of {known}")


def _check_coverage(cells: Sequence[_Cell]) -> None:
    filled = {cell.category for cell in cells if cell.cases}
    for cell in cells:
        if cell.category not in filled:
            raise CaseError(
                f"categories: no corpus of the suite has a request of category {cell.category.value}; "
                "leave the category out, or add the corpus `builtin: task-assistant`, which has all eight"
            )


def _fill_cell(
    cell: _Cell, corpora: Sequence[Corpus], attacks: Sequence[AttackPlan], per_attack: int, seed: int
) -> None:
    """Gather the cases of one cell: each attack in turn takes the next pair that makes a new conversation."""
    rng = random.Random(f"{seed}/{cell.split.value}/{cell.category.value}")
    pairs = _in_turn([corpus.pairs(cell.category, cell.split, rng) for corpus in corpora])
    passed_over: list[SeedPair] = []
    for number in range(per_attack):
        for plan in attacks:
            variants = plan.variants or VARIANTS[plan.name]
            variant = variants[number % len(variants)]
            if not _add_next(cell, pairs, passed_over, plan, variant, rng):
                if not cell.cases:
                    return
                raise CaseError(
                    f"samples.minPerCategory: the corpora have too few requests of category "
                    f"{cell.category.value} ({cell.split.value}) for {per_attack} different conversations of "
                    f"attack {plan.name}: {number} were found; lower minPerCategory or add a corpus"
                )


def _add_next(
    cell: _Cell,
    pairs: Iterator[SeedPair],
    passed_over: list[SeedPair],
    plan: AttackPlan,
    variant: str,
    rng: random.Random,
) -> bool:
    """Add one harmful case and its twin; seeds come round again, wrapped otherwise, when all were used."""
    for pair in chain(pairs, list(passed_over)):
        if pair in passed_over:
            passed_over.remove(pair)
        passed_over.append(pair)
        for _ in range(_WRAPPINGS):
            cases = _wrap(pair, plan, variant, rng)
            conversations = {case.turns for case in cases}
            if cell.conversations.isdisjoint(conversations):
                cell.conversations |= conversations
                cell.cases += cases
                return True
    return False


def _wrap(pair: SeedPair, plan: AttackPlan, variant: str, rng: random.Random) -> list[Case]:
    """The harmful case and its twin: the same wrapper, from the same draw."""
    draw = rng.getrandbits(64)
    turns = [
        ATTACKS[plan.name](seed.prompt, variant=variant, turns=plan.turns, rng=random.Random(draw))
        for seed in (pair.harmful, pair.benign)
    ]
    harmful_id = f"{pair.harmful.id}.{variant}.{fingerprint(*turns[0])[:6]}"
    ids = (harmful_id, f"{harmful_id}.twin")
    return [
        _case(seed, plan.name, variant, turns[index], ids[index], ids[1 - index])
        for index, seed in enumerate((pair.harmful, pair.benign))
    ]


def _case(seed: Seed, attack: str, variant: str, turns: tuple[str, ...], case_id: str, twin_id: str) -> Case:
    return Case(
        id=case_id,
        seed_id=seed.id,
        category=seed.category,
        harmful=seed.harmful,
        attack=attack,
        variant=variant,
        turns=turns,
        request=seed.request,
        twin=twin_id,
        split=seed.split,
    )


def _in_turn(streams: Sequence[Iterator[SeedPair]]) -> Iterator[SeedPair]:
    """One pair of each stream in turn, until all have ended."""
    for row in zip_longest(*streams):
        yield from (pair for pair in row if pair is not None)
