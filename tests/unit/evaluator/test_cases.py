from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from plumbline_api.redteam import Category
from plumbline_evaluator.attacks import ATTACKS
from plumbline_evaluator.cases import AttackPlan, Case, CaseError, build_cases
from plumbline_evaluator.corpora import Corpus, SeedPair, Split, load_corpus
from plumbline_evaluator.corpora.seeds import pair

ALL_ATTACKS = [AttackPlan(name) for name in ATTACKS]


@dataclass
class FewPrompts:
    """A corpus of so many harmful prompts of violence, and no others."""

    count: int
    name: str = "few"

    def pairs(self, category: Category, split: Split, rng: Random) -> Iterator[SeedPair]:
        if category is Category.VIOLENCE and split is Split.UNSEEN_ACTIONS:
            for number in range(self.count):
                harmful, benign = f"bad {number}", f"good {number}"
                yield pair("few", category, split, (harmful, harmful), (benign, benign))


def build(
    *,
    corpora: list[Corpus] | None = None,
    categories: list[Category] | None = None,
    attacks: list[AttackPlan] | None = None,
    per_category: int = 10,
    most: int = 4000,
    seed: int = 0,
) -> tuple[Case, ...]:
    return build_cases(
        corpora or [load_corpus("task-assistant")],
        categories or list(Category),
        ALL_ATTACKS if attacks is None else attacks,
        min_per_category=per_category,
        max_cases=most,
        seed=seed,
    )


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    return build(per_category=59)


def test_the_same_seed_builds_the_same_cases_and_another_seed_others() -> None:
    assert build(seed=3) == build(seed=3)
    assert {case.id for case in build(seed=3)} != {case.id for case in build(seed=4)}


def test_cases_are_balanced_over_category_attack_and_split(cases: tuple[Case, ...]) -> None:
    counts = Counter((case.category, case.attack, case.split) for case in cases if case.harmful)
    assert len(counts) == len(Category) * len(ATTACKS) * len(Split)
    assert set(counts.values()) == {12}


def test_every_harmful_case_has_exactly_one_benign_twin_with_the_same_attack(
    cases: tuple[Case, ...],
) -> None:
    by_id = {case.id: case for case in cases}
    harmful = [case for case in cases if case.harmful]
    assert len(by_id) == len(cases) == 2 * len(harmful)
    for case in harmful:
        twin = by_id[case.twin]
        assert not twin.harmful
        assert twin.twin == case.id
        assert (twin.attack, twin.variant, twin.category, twin.split) == (
            case.attack, case.variant, case.category, case.split,
        )  # fmt: skip
        frame = [turn.replace(case.request, "{x}") for turn in case.turns]
        assert frame == [turn.replace(twin.request, "{x}") for turn in twin.turns]


def test_no_conversation_occurs_twice(cases: tuple[Case, ...]) -> None:
    assert len({case.turns for case in cases}) == len(cases)


def test_the_request_is_asked_in_the_last_turn(cases: tuple[Case, ...]) -> None:
    assert all(case.request in case.turns[-1] for case in cases)


def test_ids_say_nothing_of_the_request(cases: tuple[Case, ...]) -> None:
    assert not any(word in case.id for case in cases for word in ("steal", "hurt", "tires", "nude"))


def test_a_variant_list_is_kept_to() -> None:
    made = build(attacks=[AttackPlan("prompt_injection", ("dan",))])
    assert {case.variant for case in made} == {"dan"}


def test_turns_are_passed_to_the_family() -> None:
    made = build(attacks=[AttackPlan("context_manipulation", turns=2)])
    assert {len(case.turns) for case in made} == {2}


def test_seeds_come_round_again_in_other_attacks_when_they_are_few() -> None:
    made = build(corpora=[FewPrompts(4)], categories=[Category.VIOLENCE], per_category=20)
    assert Counter(case.attack for case in made if case.harmful) == dict.fromkeys(ATTACKS, 4)
    assert len({case.turns for case in made}) == len(made) == 40


def test_too_few_seeds_are_an_error_that_names_the_category_and_the_field() -> None:
    with pytest.raises(CaseError, match=r"minPerCategory.*violence \(unseen_actions\).*direct: 4 were found"):
        build(corpora=[FewPrompts(4)], categories=[Category.VIOLENCE], per_category=25)


def test_a_category_that_no_corpus_has_is_an_error() -> None:
    with pytest.raises(CaseError, match="no corpus of the suite has a request of category self_harm"):
        build(corpora=[FewPrompts(4)], categories=[Category.VIOLENCE, Category.SELF_HARM])


def test_more_cases_than_the_most_are_an_error_with_the_number_needed() -> None:
    with pytest.raises(CaseError, match=r"samples\.max is 300, but .* make 320 cases"):
        build(most=300)


def test_an_unknown_attack_or_variant_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(CaseError, match="'jailbreak' is not one of direct, role_play"):
        build(attacks=[AttackPlan("jailbreak")])
    with pytest.raises(CaseError, match="variant 'sudo' is not one of ignore_previous, dan"):
        build(attacks=[AttackPlan("prompt_injection", ("sudo",))])


def test_two_corpora_take_turns() -> None:
    made = build(
        corpora=[FewPrompts(50), load_corpus("task-assistant")],
        categories=[Category.VIOLENCE],
        attacks=[AttackPlan("direct")],
        per_category=20,
    )
    unseen = [case for case in made if case.harmful and case.split == Split.UNSEEN_ACTIONS]
    assert Counter(case.seed_id.split(".")[0] for case in unseen) == {"few": 10, "task-assistant": 10}
