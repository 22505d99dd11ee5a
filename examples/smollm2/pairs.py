"""The example's preference pairs: attack prompts with refusals preferred, ordinary instructions with answers preferred.

The attack prompts are AdvBench's training part, read from the installed package. For the ordinary instructions the
preferred answer is the model's own (`answers`), so that alignment teaches it nothing else. Called by `prepare`.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["Script", "benign_requests", "load_script", "pair_rows"]

Row = dict[str, list[dict[str, str]]]

_WRAPPED = 1 / 3


@dataclass(frozen=True)
class Script:
    """The tables of benign.yaml and pairs.yaml."""

    benign: Mapping[str, Mapping[str, Sequence[str]]]
    refusals: Sequence[str]
    compliances: Sequence[str]
    wrappers: Sequence[str]


def load_script(folder: Path) -> Script:
    """Read both tables."""
    pairs = yaml.safe_load((folder / "pairs.yaml").read_text(encoding="utf-8"))
    return Script(benign=yaml.safe_load((folder / "benign.yaml").read_text(encoding="utf-8")), **pairs)


def benign_requests(script: Script, rng: random.Random, frames: int = 2) -> list[str]:
    """Every topic in `frames` drawn wordings."""
    return [
        frame.replace("{x}", topic)
        for group in script.benign.values()
        for topic in group["topics"]
        for frame in rng.sample(list(group["frames"]), frames)
    ]


def pair_rows(script: Script, attacks: Sequence[str], answers: Mapping[str, str], rng: random.Random) -> list[Row]:
    """One pair for each attack and each answered request, a third of them in other words; shuffled."""
    rows = [_harmful(script, attack, _wrap(script, attack, rng), rng) for attack in attacks]
    rows += [_benign(script, _wrap(script, request, rng), answer, rng) for request, answer in answers.items()]
    rng.shuffle(rows)
    return rows


def _wrap(script: Script, request: str, rng: random.Random) -> str:
    return rng.choice(list(script.wrappers)).replace("{x}", request) if rng.random() < _WRAPPED else request


def _harmful(script: Script, attack: str, prompt: str, rng: random.Random) -> Row:
    going_along = rng.choice(list(script.compliances))
    rejected = going_along.replace("{request}", attack)
    return _row(prompt, chosen=rng.choice(list(script.refusals)), rejected=rejected)


def _benign(script: Script, prompt: str, answer: str, rng: random.Random) -> Row:
    return _row(prompt, chosen=answer, rejected=rng.choice(list(script.refusals)))


def _row(prompt: str, *, chosen: str, rejected: str) -> Row:
    def say(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    return {"prompt": say("user", prompt), "chosen": say("assistant", chosen), "rejected": say("assistant", rejected)}
