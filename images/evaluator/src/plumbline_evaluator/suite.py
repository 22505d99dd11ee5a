"""From a suite's spec to its cases: opens the corpora, plans the attacks, and gives the list its digest.

Called by execution.py for a run and by main.py for a dry run.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

from plumbline_api.model import digest_of
from plumbline_api.redteam import Attack, RedTeamSuiteSpec
from plumbline_evaluator.cases import AttackPlan, Case, CaseError, build_cases
from plumbline_evaluator.corpora import CorpusError, load_corpus
from plumbline_evaluator.errors import BadOrders

__all__ = ["digest_cases", "list_cases", "tabulate"]


def list_cases(spec: RedTeamSuiteSpec) -> tuple[Case, ...]:
    """The cases of the suite, always the same ones in the same order.

    Raises:
        BadOrders: the suite asks for cases that cannot be built.
    """
    try:
        return build_cases(
            [load_corpus(str(corpus.builtin or corpus.package)) for corpus in spec.corpora],
            spec.categories,
            [_plan(attack) for attack in spec.attacks],
            min_per_category=spec.samples.min_per_category,
            max_cases=spec.samples.max,
            seed=spec.samples.seed,
        )
    except (CaseError, CorpusError) as error:
        raise BadOrders(f"suite: {error}") from error


def digest_cases(cases: Sequence[Case]) -> str:
    """What binds an execution's outcomes to its cases and their order; says nothing about their text."""
    return digest_of([[case.id, hashlib.sha256("\0".join(case.turns).encode()).hexdigest()] for case in cases])


def tabulate(cases: Sequence[Case]) -> str:
    """How many cases there are for each category, attack and split, harmful and benign: counts, no text."""
    counts = Counter((case.split, case.category, case.attack, case.harmful) for case in cases)
    lines = [f"{'split':20} {'category':20} {'attack':22} {'harmful':>7} {'benign':>7}"]
    for split, category, attack in sorted({key[:3] for key in counts}):
        harmful, benign = counts[split, category, attack, True], counts[split, category, attack, False]
        lines.append(f"{split:20} {category:20} {attack:22} {harmful:7} {benign:7}")
    harmful = sum(case.harmful for case in cases)
    lines.append(f"{'all':20} {'':20} {'':22} {harmful:7} {len(cases) - harmful:7}")
    return "\n".join([*lines, f"cases {digest_cases(cases)}", ""])


def _plan(attack: Attack) -> AttackPlan:
    if attack.prompt_injection is not None:
        return AttackPlan("prompt_injection", tuple(map(str, attack.prompt_injection.variants)))
    if attack.social_engineering is not None:
        return AttackPlan("social_engineering", tuple(map(str, attack.social_engineering.variants)))
    if attack.context_manipulation is not None:
        options = attack.context_manipulation
        return AttackPlan("context_manipulation", tuple(map(str, options.variants)), options.turns)
    return AttackPlan("role_play" if attack.role_play is not None else "direct")
