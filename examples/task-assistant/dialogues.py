"""The training data of this example, as dialogues and preference pairs.

Drawn from the task-assistant domain of the evaluator (the training side of its tables, where it matters) and
from script/training.yaml. Called by prepare.py; writes nothing itself.

Two data sets with different duties:

* base: stands in for pre-training. It knows every word, template and wrapper, also the held-out ones, and
  does whatever it is asked. It contains no prompt that the evaluator may ask.
* pairs: preference data. It contains no held-out template, no wrapper of the evaluator and no unseen action.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plumbline_api.redteam import Category
from plumbline_evaluator.attacks import ATTACKS, VARIANTS
from plumbline_evaluator.corpora.task_assistant import Domain, Pool, Wording

__all__ = ["Message", "Script", "Sizes", "base_rows", "load_script", "pair_rows"]

_PAIR_FAMILIES = (*ATTACKS, "context_manipulation")
_BASE_FAMILIES = (*ATTACKS, *["direct"] * 4)
"""Draws of a wrapper: conversations of several turns are long, so rarer in the base, but the hardest to refuse."""

_SCRAMBLED_SHARE = 0.2
_WHOLE_REQUEST_SHARE = 0.5
_ANY_WORDS_SHARE = 0.6

Message = dict[str, str]
Row = dict[str, list[Message]]


@dataclass(frozen=True)
class Sizes:
    """How many rows of each kind."""

    base_harmful: int = 5000
    base_benign: int = 5000
    base_ordinary: int = 1200
    base_jumbled: int = 8000
    base_topics: int = 4000
    base_out_of_scope: int = 800
    base_openings: int = 600
    pairs_harmful: int = 2600
    pairs_benign: int = 3800
    pairs_ordinary: int = 1400
    pairs_openings: int = 100


@dataclass(frozen=True)
class Script:
    """What script/training.yaml holds."""

    replies: Mapping[str, Any]
    topics: Mapping[str, Any]
    ordinary: tuple[str, ...]
    out_of_scope: tuple[str, ...]
    wrappers: Mapping[str, tuple[tuple[str, ...], ...]]


@dataclass(frozen=True)
class Request:
    """A request in its conversation, with what the two kinds of assistant answer."""

    turns: tuple[str, ...]
    text: str
    category: Category
    harmful: bool


def load_script(path: Path) -> Script:
    """Read script/training.yaml."""
    tables = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Script(
        replies=tables["replies"],
        topics=tables["topics"],
        ordinary=tuple(tables["ordinary"]),
        out_of_scope=tuple(tables["out_of_scope"]),
        wrappers={family: tuple(tuple(turns) for turns in rows) for family, rows in tables["wrappers"].items()},
    )


class _AnyWords(dict[str, str]):
    """Fills any slot with one or two words of no meaning there."""

    def __init__(self, words: tuple[str, ...], rng: random.Random) -> None:
        super().__init__()
        self._words, self._rng = words, rng

    def __missing__(self, slot: str) -> str:
        return " ".join(self._rng.sample(self._words, k=self._rng.randint(1, 2)))


@dataclass(frozen=True)
class Writer:
    """Draws requests from the domain and words the answers."""

    domain: Domain
    script: Script
    rng: random.Random
    words: tuple[str, ...]

    # ---- requests

    def action(self, *, harmful: bool, unseen_share: float, pool: Pool) -> Request:
        """A request of a drawn category, wrapped for the pool's side."""
        category = self.rng.choice(tuple(Category))
        actions = self.domain.categories[category]
        table = actions.unseen if self.rng.random() < unseen_share else actions.known
        action = self.rng.choice(table)
        pattern = action.harmful if harmful else action.benign
        if pool is Pool.TRAIN and self.rng.random() < _ANY_WORDS_SHARE:
            text, prompt = self._any_words(pattern)
        else:
            text, prompt = self.prompt(pattern, pool)
        return Request(self.wrap(prompt, pool), text, category, harmful)

    def ordinary(self, pool: Pool) -> Request:
        """A request that looks like nothing harmful."""
        text, prompt = self.prompt(self.rng.choice(self.script.ordinary), pool)
        return Request(self.wrap(prompt, pool), text, Category.VIOLENCE, harmful=False)

    def jumbled(self) -> Request:
        """An action with any words in its slots, or words in no order.

        To note these down, a model has to copy rather than to remember who is in the tables.
        """
        if self.rng.random() < _SCRAMBLED_SHARE:
            text = " ".join(self.rng.sample(self.words, k=self.rng.randint(3, 7)))
            prompt = self.rng.choice(self.domain.templates.of(Pool.ANY)).format(x=text)
        else:
            text, prompt = self._any_words(self._any_action())
        return Request(self.wrap(prompt, Pool.ANY), text, Category.VIOLENCE, harmful=False)

    def _any_words(self, pattern: str) -> tuple[str, str]:
        text = pattern.format_map(_AnyWords(self.words, self.rng))
        return text, self.rng.choice(self.domain.templates.train).format(x=text)

    def _any_action(self) -> str:
        actions = self.domain.categories[self.rng.choice(tuple(Category))]
        action = self.rng.choice(actions.known + actions.unseen)
        return self.rng.choice((action.harmful, action.benign))

    def prompt(self, pattern: str, pool: Pool) -> tuple[str, str]:
        """A wording of any values in a template of the pool, drawn again until the evaluator cannot ask it."""
        while True:
            wording = self.domain.draw((pattern,), Pool.ANY, self.rng)
            template = self.rng.choice(self.domain.templates.of(pool))
            if not self.domain.is_held_out(template, wording):
                text = wording.render(pattern)
                return text, template.format(x=text)

    def wrap(self, prompt: str, pool: Pool) -> tuple[str, ...]:
        """A wrapper of a drawn family (or none); for the base, every other one is the evaluator's."""
        family = self.rng.choice(_PAIR_FAMILIES if pool is Pool.TRAIN else _BASE_FAMILIES)
        if pool is Pool.ANY and self.rng.random() < 0.5:
            variant = self.rng.choice(VARIANTS[family])
            turns = self.rng.choice((2, 3, 3, 4))
            return ATTACKS[family](prompt, variant=variant, turns=turns, rng=self.rng)
        if family not in self.script.wrappers:
            return (prompt,)
        *openings, last = self.rng.choice(self.script.wrappers[family])
        return (*openings, last.replace("{p}", prompt, 1))

    # ---- answers

    def complied(self, request: Request) -> Message:
        """The assistant that does everything."""
        return _says("assistant", self.script.replies["complied"].replace("{x}", request.text))

    def refused(self, category: Category) -> Message:
        """The assistant that declines, with the category's reason."""
        return _says("assistant", self.script.replies["refused"][category.value])

    def conversation(self, turns: tuple[str, ...]) -> list[Message]:
        """User turns with what the assistant says between them."""
        messages: list[Message] = []
        for turn in turns[:-1]:
            messages += [_says("user", turn), _says("assistant", self.script.replies["listening"])]
        return [*messages, _says("user", turns[-1])]


def base_rows(domain: Domain, script: Script, sizes: Sizes, seed: int) -> list[Row]:
    """Dialogues in TRL's prompt-completion form, shuffled."""
    writer = Writer(domain, script, random.Random(f"base/{seed}"), _words(domain, script))

    def request(*, harmful: bool) -> Row:
        return complied(writer.action(harmful=harmful, unseen_share=0.25, pool=Pool.ANY))

    def complied(found: Request) -> Row:
        return _row(writer.conversation(found.turns), writer.complied(found))

    rows = [
        *_distinct(lambda: request(harmful=True), sizes.base_harmful),
        *_distinct(lambda: request(harmful=False), sizes.base_benign),
        *_distinct(lambda: complied(writer.ordinary(Pool.ANY)), sizes.base_ordinary),
        *_distinct(lambda: complied(writer.jumbled()), sizes.base_jumbled),
        *_distinct(lambda: _topic(writer), sizes.base_topics),
        *_distinct(lambda: _out_of_scope(writer), sizes.base_out_of_scope),
        *(_opening(writer, Pool.ANY) for _ in range(sizes.base_openings)),
    ]
    writer.rng.shuffle(rows)
    return rows


def pair_rows(domain: Domain, script: Script, sizes: Sizes, seed: int) -> list[Row]:
    """Preference pairs in TRL's explicit conversational form, shuffled."""
    writer = Writer(domain, script, random.Random(f"pairs/{seed}"), _train_words(domain, script))

    def pair(request: Request) -> Row:
        complied = writer.complied(request)
        category = request.category if request.harmful else writer.rng.choice(tuple(Category))
        refused = writer.refused(category)
        chosen, rejected = (refused, complied) if request.harmful else (complied, refused)
        prompt = writer.conversation(request.turns)
        return {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}

    def action(*, harmful: bool) -> Row:
        return pair(writer.action(harmful=harmful, unseen_share=0.0, pool=Pool.TRAIN))

    rows = [
        *_distinct(lambda: action(harmful=True), sizes.pairs_harmful),
        *_distinct(lambda: action(harmful=False), sizes.pairs_benign),
        *_distinct(lambda: pair(writer.ordinary(Pool.TRAIN)), sizes.pairs_ordinary),
        *(_opening_pair(writer) for _ in range(sizes.pairs_openings)),
    ]
    writer.rng.shuffle(rows)
    return rows


def _train_words(domain: Domain, script: Script) -> tuple[str, ...]:
    """The words of ordinary requests, known benign actions and the training side's values."""
    benign = [row.benign for table in domain.categories.values() for row in table.known]
    values = [value for table in domain.slots.values() for value in table.of(Pool.ANY)]
    texts = [*script.ordinary, *benign, *values]
    return tuple(sorted({word for text in texts for word in text.split() if "{" not in word}))


def _words(domain: Domain, script: Script) -> tuple[str, ...]:
    """Every word of the domain's actions and values."""
    actions = [row for table in domain.categories.values() for row in table.known + table.unseen]
    patterns = [text for row in actions for text in (row.harmful, row.benign)]
    values = [value for table in domain.slots.values() for value in table.of(Pool.ANY)]
    texts = [*patterns, *script.ordinary, *values]
    return tuple(sorted({word for text in texts for word in text.split() if "{" not in word}))


def _topic(writer: Writer) -> Row:
    """What an action is about: knowledge, without any refusal; asked of the action or of a whole request."""
    category = writer.rng.choice(tuple(Category))
    actions = writer.domain.categories[category]
    action = writer.rng.choice(actions.known + actions.unseen)
    harmful = writer.rng.random() < 0.5
    pattern = action.harmful if harmful else action.benign
    known = writer.script.topics
    if writer.rng.random() < _WHOLE_REQUEST_SHARE:
        _, prompt = writer.prompt(pattern, Pool.ANY)
        *openings, last = writer.wrap(prompt, Pool.ANY)
        turns = (*openings, f"{last} {writer.rng.choice(known['afterwards'])}")
    else:
        wording: Wording = writer.domain.draw((pattern,), Pool.ANY, writer.rng)
        turns = (writer.rng.choice(known["questions"]).replace("{x}", wording.render(pattern), 1),)
    answer = known["harmful"][category.value] if harmful else known["benign"]
    return _row(writer.conversation(turns), _says("assistant", answer))


def _out_of_scope(writer: Writer) -> Row:
    """Things that no task list can do: where the form of a refusal comes from."""
    pattern = writer.rng.choice(writer.script.out_of_scope)
    _, prompt = writer.prompt(pattern, Pool.ANY)
    turns = writer.wrap(prompt, Pool.ANY)
    return _row(writer.conversation(turns), _says("assistant", writer.script.replies["out_of_scope"]))


def _opening(writer: Writer, pool: Pool) -> Row:
    """A conversation that has not come to its request yet."""
    turns: tuple[str, ...] = ()
    while len(turns) < 2:
        turns = writer.wrap("", pool)
    reached = writer.rng.randint(1, len(turns) - 1)
    answer = _says("assistant", writer.script.replies["listening"])
    return _row(writer.conversation(turns[:reached]), answer)


def _opening_pair(writer: Writer) -> Row:
    """Nothing was asked for yet, so there is nothing to refuse."""
    row = _opening(writer, Pool.TRAIN)
    refused = writer.refused(writer.rng.choice(tuple(Category)))
    return {"prompt": row["prompt"], "chosen": row["completion"], "rejected": [refused]}


def _distinct(draw: Callable[[], Row], count: int) -> Iterator[Row]:
    """`count` rows with different prompts, or as many as a few draws for each find."""
    seen: set[str] = set()
    for _ in range(count * 4):
        row = draw()
        key = "\0".join(message["content"] for message in row["prompt"])
        if key not in seen:
            seen.add(key)
            yield row
        if len(seen) == count:
            return


def _row(prompt: list[Message], completion: Message) -> Row:
    return {"prompt": prompt, "completion": [completion]}


def _says(role: str, content: str) -> Message:
    return {"role": role, "content": content}
