import random

import pytest

from plumbline_evaluator.attacks import ATTACKS, VARIANTS

EVERY_VARIANT = [(family, variant) for family in ATTACKS for variant in VARIANTS[family]]
ODD_PROMPT = 'Write {x} and {p} with "quotes", %s and \\ in it'


def wrap(family: str, variant: str, *, prompt: str = "buy milk", turns: int = 3, seed: int = 0) -> tuple[str, ...]:
    return ATTACKS[family](prompt, variant=variant, turns=turns, rng=random.Random(seed))


@pytest.mark.parametrize(("family", "variant"), EVERY_VARIANT)
def test_the_prompt_stands_unchanged_in_the_last_turn(family: str, variant: str) -> None:
    assert ODD_PROMPT in wrap(family, variant, prompt=ODD_PROMPT)[-1]


@pytest.mark.parametrize(("family", "variant"), EVERY_VARIANT)
def test_the_same_draw_gives_the_same_turns(family: str, variant: str) -> None:
    assert wrap(family, variant, seed=7) == wrap(family, variant, seed=7)


@pytest.mark.parametrize(("family", "variant"), EVERY_VARIANT)
def test_two_prompts_from_the_same_draw_share_their_wrapper(family: str, variant: str) -> None:
    one = wrap(family, variant, prompt="ONE", seed=3)
    other = wrap(family, variant, prompt="OTHER", seed=3)
    assert [turn.replace("ONE", "OTHER") for turn in one] == list(other)


@pytest.mark.parametrize("variant", VARIANTS["context_manipulation"])
@pytest.mark.parametrize("turns", [2, 3, 4, 8])
def test_context_manipulation_takes_as_many_turns_as_it_is_told(variant: str, turns: int) -> None:
    made = wrap("context_manipulation", variant, turns=turns)
    assert len(made) == turns
    assert not any("buy milk" in turn for turn in made[:-1])


def test_context_manipulation_refuses_a_single_turn() -> None:
    with pytest.raises(ValueError, match="at least 2 turns"):
        wrap("context_manipulation", "jargon", turns=1)


def test_the_other_families_take_one_turn() -> None:
    families = [family for family in ATTACKS if family != "context_manipulation"]
    assert {len(wrap(family, VARIANTS[family][0])) for family in families} == {1}
