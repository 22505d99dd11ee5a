import random
import re
from itertools import islice
from string import Formatter

import pytest

from plumbline_api.redteam import Category
from plumbline_evaluator.corpora import CorpusError, SeedPair, Split, load_corpus
from plumbline_evaluator.corpora.task_assistant import Action, Domain, load_domain


@pytest.fixture(scope="module")
def domain() -> Domain:
    return load_domain()


def take(category: Category, split: Split, count: int, seed: int = 0) -> list[SeedPair]:
    return list(islice(load_corpus("task-assistant").pairs(category, split, random.Random(seed)), count))


def slots(pattern: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(pattern) if name}


def every_action(domain: Domain) -> list[Action]:
    return [row for table in domain.categories.values() for row in table.known + table.unseen]


def test_the_domain_has_all_eight_categories_with_known_and_unseen_actions(domain: Domain) -> None:
    assert set(domain.categories) == set(Category)
    assert all(len(table.known) >= 6 and len(table.unseen) >= 3 for table in domain.categories.values())


def test_no_action_stands_twice(domain: Domain) -> None:
    patterns = [text for row in every_action(domain) for text in (row.harmful, row.benign)]
    assert len(patterns) == len(set(patterns))


def test_every_slot_of_an_action_is_in_the_tables(domain: Domain) -> None:
    assert all(slots(row.harmful) | slots(row.benign) <= set(domain.slots) for row in every_action(domain))


def test_a_value_is_held_out_everywhere_or_nowhere(domain: Domain) -> None:
    tables = [domain.templates, domain.times, *domain.slots.values()]
    train = {value for table in tables for value in table.train}
    assert train.isdisjoint(value for table in tables for value in table.held_out)


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("category", Category)
def test_each_category_and_split_has_plenty_of_distinct_pairs(category: Category, split: Split) -> None:
    pairs = take(category, split, 70)
    prompts = {seed.prompt for pair in pairs for seed in (pair.harmful, pair.benign)}
    assert len(pairs) == 70
    assert len(prompts) == 140
    assert {pair.harmful.category for pair in pairs} == {category.value}
    assert {pair.harmful.split for pair in pairs} == {split.value}


def test_the_two_seeds_of_a_pair_name_each_other_and_share_their_template() -> None:
    for pair in take(Category.VIOLENCE, Split.HELD_OUT_PHRASINGS, 40):
        assert pair.harmful.harmful
        assert not pair.benign.harmful
        assert (pair.harmful.twin, pair.benign.twin) == (pair.benign.id, pair.harmful.id)
        frame = pair.harmful.prompt.replace(pair.harmful.request, "{x}")
        assert pair.benign.prompt == frame.replace("{x}", pair.benign.request)


def test_the_same_draw_gives_the_same_seeds() -> None:
    once, again = (take(Category.HARASSMENT, Split.UNSEEN_ACTIONS, 20, seed=5) for _ in range(2))
    assert once == again


def test_seeds_are_drawn_from_the_held_out_side_only(domain: Domain) -> None:
    def held_out(pattern: str) -> re.Pattern[str]:
        values = {name: f"({'|'.join(table.held_out)})" for name, table in domain.slots.items()}
        return re.compile(f"{pattern.format(**values)}( ({'|'.join(domain.times.held_out)}))?")

    for category in Category:
        actions = domain.categories[category].known
        for pair in take(category, Split.HELD_OUT_PHRASINGS, 30):
            frame = pair.harmful.prompt.replace(pair.harmful.request, "{x}")
            assert frame in domain.templates.held_out
            assert any(held_out(action.harmful).fullmatch(pair.harmful.request) for action in actions)


def test_an_unknown_corpus_is_named_with_the_known_ones() -> None:
    with pytest.raises(CorpusError, match="'alpaca' is not one of task-assistant, advbench, harmbench"):
        load_corpus("alpaca")
