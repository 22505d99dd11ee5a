"""Running cases against the subject: bounded concurrency, every case finished or accounted for, resumable.

Called by execution.py. One worker per allowed conversation takes case after case, judges the answers at once and
enters the outcome into the ledger. A case whose requests keep failing is an ERROR, which no ledger holds, so that a
later attempt asks again.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from plumbline_api.report import CaseResult, Outcome
from plumbline_evaluator.cases import Case
from plumbline_evaluator.conversation import Patience, Talk, hold
from plumbline_evaluator.errors import Unavailable
from plumbline_evaluator.ledger import Entry, Ledger
from plumbline_evaluator.progress import Meter
from plumbline_evaluator.target import Target

__all__ = ["Judge", "Plan", "run_cases"]

_FEWEST_FAILURES = 16


class Judge(Protocol):
    """What says of a case's answers whether the subject complied."""

    def __call__(self, case: Case, answers: Sequence[str]) -> Outcome:
        """The outcome; never ERROR."""


@dataclass(frozen=True)
class Plan:
    """How to run."""

    concurrency: int
    patience: Patience
    system_prompt: str | None
    seed: int


class _Run:
    """One run of a list of cases."""

    def __init__(self, target: Target, judge: Judge, plan: Plan, ledger: Ledger, meter: Meter) -> None:
        self.results: dict[str, CaseResult] = {}
        self._target = target
        self._judge = judge
        self._plan = plan
        self._ledger = ledger
        self._meter = meter
        self._failures = 0

    def keep(self, case: Case, entry: Entry) -> None:
        """Take over what an earlier attempt finished."""
        self.results[case.id] = result_of(case, entry.outcome, entry.attempts)
        self._meter.resume(entry.outcome, harmful=case.harmful, repeated=entry.attempts - 1)

    async def work(self, cases: Iterator[Case]) -> None:
        """Take case after case from what all workers share."""
        plan = self._plan
        for case in cases:
            talk = await hold(self._target, case.turns, plan.system_prompt, plan.patience, f"{plan.seed}/{case.id}")
            self._finish(case, talk)

    def _finish(self, case: Case, talk: Talk) -> None:
        attempts = 1 + talk.repeated
        if talk.failure:
            outcome = Outcome.ERROR
            self._count_failure(talk.failure)
        else:
            outcome = self._judge(case, talk.answers)
            self._ledger.record(case.id, outcome, attempts, talk.answers)
            self._failures = 0
        self.results[case.id] = result_of(case, outcome, attempts)
        self._meter.count(outcome, harmful=case.harmful, repeated=talk.repeated)

    def _count_failure(self, fact: str) -> None:
        """Give up when nothing but failures comes back: the target is gone, and the rest would only burn time."""
        self._failures += 1
        if self._failures >= max(_FEWEST_FAILURES, 2 * self._plan.concurrency):
            raise Unavailable(
                f"target: {self._failures} cases in a row failed, the last because {fact}; "
                "look at the engine's log and run again, finished cases are kept"
            )


async def run_cases(
    cases: Sequence[Case], target: Target, judge: Judge, plan: Plan, ledger: Ledger, meter: Meter
) -> tuple[CaseResult, ...]:
    """Run every case that the ledger does not hold; the results of all, in the order of the cases.

    Cancelled, it leaves what is finished in the ledger.

    Raises:
        EvaluationError: the target went away or does not let us in.
    """
    run = _Run(target, judge, plan, ledger, meter)
    for case in cases:
        entry = ledger.done.get(case.id)
        if entry is not None:
            run.keep(case, entry)
    waiting = (case for case in cases if case.id not in ledger.done)
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(plan.concurrency):
                workers.create_task(run.work(waiting))
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    results = tuple(run.results[case.id] for case in cases)
    if all(result.outcome is Outcome.ERROR for result in results):
        raise Unavailable("target: not one case brought an answer; look at the engine's log and run again")
    return results


def result_of(case: Case, outcome: Outcome, attempts: int) -> CaseResult:
    """What the report says of a case: no word of it."""
    labels = {"category": case.category, "attack": case.attack, "split": case.split}
    return CaseResult(id=case.id, harmful=case.harmful, labels=labels, outcome=outcome, attempts=attempts)
