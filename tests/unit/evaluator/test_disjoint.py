"""What the evaluator asks is in no training data of examples/task-assistant, and how far the data stays away."""

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from plumbline_api.redteam import Category
from plumbline_evaluator.attacks import (
    ATTACKS,
    context_manipulation,
    prompt_injection,
    role_play,
    social_engineering,
)
from plumbline_evaluator.cases import AttackPlan, build_cases
from plumbline_evaluator.corpora import load_corpus
from plumbline_evaluator.corpora.task_assistant import Action, load_domain

EXAMPLE = Path(__file__).parents[3] / "examples" / "task-assistant"
DOMAIN = load_domain()


@dataclass(frozen=True)
class Training:
    """Every text of the two data sets, and every user turn of the base."""

    base: frozenset[str]
    base_conversations: frozenset[tuple[str, ...]]
    pairs: str


def load_dialogues() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dialogues", EXAMPLE / "dialogues.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dialogues"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def training() -> Training:
    dialogues = load_dialogues()
    script, sizes = dialogues.load_script(EXAMPLE / "script/training.yaml"), dialogues.Sizes()
    base = dialogues.base_rows(DOMAIN, script, sizes, 1)
    pairs = dialogues.pair_rows(DOMAIN, script, sizes, 1)
    asked = [[turn["content"] for turn in row["prompt"] if turn["role"] == "user"] for row in base]
    answers = {text["content"] for row in base for text in row["completion"]}
    parts = [row[part] for row in pairs for part in ("prompt", "chosen", "rejected")]
    return Training(
        base=frozenset(text for texts in asked for text in texts) | answers,
        base_conversations=frozenset(tuple(texts) for texts in asked),
        pairs="\n".join(sorted({text["content"] for part in parts for text in part})),
    )


def prompts_of(seed: int) -> set[str]:
    """The prompts, without their wrappers, of the cases that a suite with this seed asks."""
    cases = build_cases(
        [load_corpus("task-assistant")],
        list(Category),
        [AttackPlan(name) for name in ATTACKS],
        min_per_category=59,
        max_cases=4000,
        seed=seed,
    )
    frames = [template.split("{x}") for template in DOMAIN.templates.held_out]
    asked = {
        f"{start}{case.request}{end}" for case in cases for start, end in frames
        if f"{start}{case.request}{end}" in case.turns[-1]
    }  # fmt: skip
    assert len({case.request for case in cases}) <= len(asked)
    return asked


def single_turn_wrappers() -> list[str]:
    families = (role_play, prompt_injection, social_engineering)
    return [text for family in families for texts in family.TEMPLATES.values() for text in texts]


def several_turn_wrappers() -> list[str]:
    approaches = context_manipulation.TEMPLATES.values()
    return [text for found in approaches for text in (*found.openings, *found.requests)]


def pieces(template: str) -> list[str]:
    """What stands around the slots of a template or an action."""
    return [piece for piece in re.split(r"\{\w+\}", template) if len(piece.strip()) > 3]


def matcher(action: str) -> re.Pattern[str]:
    return re.compile(".+".join(map(re.escape, re.split(r"\{\w+\}", action))))


@pytest.mark.parametrize("seed", [0, 1, 2, 77])
def test_no_prompt_of_a_case_occurs_in_any_training_text(training: Training, seed: int) -> None:
    asked = prompts_of(seed)
    longest = max(map(len, asked))
    assert asked.isdisjoint(training.base)
    starts = {prompt[:12] for prompt in asked}
    for text in (*training.base, *training.pairs.splitlines()):
        for start in range(len(text)):
            if text[start : start + 12] in starts:
                window = text[start : start + longest]
                assert not any(window.startswith(prompt) for prompt in asked)


def test_pairs_use_no_held_out_template(training: Training) -> None:
    for template in DOMAIN.templates.held_out:
        start, end = template.split("{x}")
        assert not re.search(f"{re.escape(start)}.+{re.escape(end)}", training.pairs), template


def test_pairs_use_no_wrapper_of_the_evaluator(training: Training) -> None:
    for wrapper in single_turn_wrappers() + several_turn_wrappers():
        assert not any(piece.strip() in training.pairs for piece in pieces(wrapper)), wrapper


def test_pairs_hold_no_unseen_action_and_every_known_one(training: Training) -> None:
    def occurs(action: Action) -> list[bool]:
        return [bool(matcher(text).search(training.pairs)) for text in (action.harmful, action.benign)]

    for table in DOMAIN.categories.values():
        assert not any(found for action in table.unseen for found in occurs(action))
        assert all(found for action in table.known for found in occurs(action))


def test_the_base_knows_the_held_out_wrappers_and_templates(training: Training) -> None:
    everything = "\n".join(training.base)
    for text in (*single_turn_wrappers(), *several_turn_wrappers(), *DOMAIN.templates.held_out):
        assert all(piece.strip() in everything for piece in pieces(text)), text


def test_the_base_refuses_nothing_but_what_no_task_list_can_do(training: Training) -> None:
    assert {text for text in training.base if text.startswith("I can't help")} == {
        "I can't help with that. I only manage tasks and reminders."
    }
