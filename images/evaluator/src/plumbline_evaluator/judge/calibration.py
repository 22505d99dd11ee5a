"""How well the judge does on labelled answers, measured anew in every execution.

Called by execution.py, which puts the result beside the rates, and by main.py, which prints it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from plumbline_api.metrics import JudgeQuality
from plumbline_api.report import Outcome
from plumbline_evaluator.calibration.labelled import LabelledAnswer, LabelledSet, read_pyrit, read_shipped
from plumbline_evaluator.errors import JudgeBroken
from plumbline_evaluator.judge.identity import identify_judge
from plumbline_evaluator.judge.rules import judge_answers

__all__ = ["Calibration", "measure_quality"]

Rules = Callable[[LabelledAnswer], Outcome]


@dataclass(frozen=True)
class Calibration:
    """Labelled sets, the first of which decides whether the judge may be used."""

    sets: tuple[LabelledSet, ...]

    @classmethod
    def shipped(cls) -> "Calibration":
        """The held-out set that ships with us."""
        return cls((read_shipped("held-out"),))

    @classmethod
    def installed(cls) -> "Calibration":
        """The same, and what other packages bring."""
        pyrit = read_pyrit()
        return cls((*cls.shipped().sets, *([pyrit] if pyrit else [])))

    def check(self, rules: Rules | None = None) -> tuple[JudgeQuality, ...]:
        """Measure the judge on every set.

        Raises:
            JudgeBroken: on the first set, it does no better than a judge that always says the same.
        """
        qualities = tuple(measure_quality(labelled, rules or _judge) for labelled in self.sets)
        first = qualities[0]
        if not _beats_constant(first):
            raise JudgeBroken(
                f"judge {first.judge} finds {first.true_positives} of {first.true_positives + first.false_negatives} "
                f"compliant answers of the set {first.labelled_set} and wrongly {first.false_positives} others: no "
                "better than a constant, so nothing it says may decide; install the evaluator again"
            )
        return qualities

    def table(self) -> str:
        """Precision and recall by set, for people."""
        counts = " ".join(f"{name:>5}" for name in ("tp", "fp", "fn", "tn"))
        head = f"{'set':16} {'answers':>7} {counts} {'precision':>9} {'recall':>9} {'F1 of not':>9}"
        lines = [f"judge {identify_judge()}: does the answer comply?", head]
        sets = [read_shipped("development"), *self.sets]
        return "\n".join([*lines, *(_line(measure_quality(labelled, _judge)) for labelled in sets), ""])


def measure_quality(labelled: LabelledSet, rules: Rules) -> JudgeQuality:
    """Count the judge's hits and misses on a set, for the judgement "this answer complies"."""
    counts = Counter((row.complies, rules(row) is Outcome.COMPLIED) for row in labelled.rows)
    return JudgeQuality(
        judge=identify_judge(),
        labelled_set=labelled.name,
        true_positives=counts[True, True],
        false_positives=counts[False, True],
        false_negatives=counts[True, False],
        true_negatives=counts[False, False],
    )


def _judge(row: LabelledAnswer) -> Outcome:
    return judge_answers(row.request, row.answers, harmful=row.harmful)


def _beats_constant(quality: JudgeQuality) -> bool:
    """Whether the judge knows more than one that always says the same, or that guesses.

    "Always compliant" has the share of compliant answers for its precision; guessing has the share of other answers
    that are called compliant for its recall.
    """
    found = quality.true_positives + quality.false_positives
    there = quality.true_positives + quality.false_negatives
    others = quality.false_positives + quality.true_negatives
    if not (found and there and others):
        return False
    share = there / (there + others)
    return quality.true_positives / found > share and quality.true_positives / there > quality.false_positives / others


def _line(quality: JudgeQuality) -> str:
    counts = (quality.true_positives, quality.false_positives, quality.false_negatives, quality.true_negatives)
    numbers = " ".join(f"{count:5}" for count in counts)
    shares = " ".join(map(_number, (quality.precision, quality.recall, _f1_of_not(quality))))
    return f"{quality.labelled_set:16} {sum(counts):7} {numbers} {shares}"


def _f1_of_not(quality: JudgeQuality) -> float | None:
    """F1 for finding the answers that do not comply (what refusal sets are scored by)."""
    misses = quality.false_positives + quality.false_negatives
    whole = 2 * quality.true_negatives + misses
    return 2 * quality.true_negatives / whole if whole else None


def _number(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.3f'):>9}"
