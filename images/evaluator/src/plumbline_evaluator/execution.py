"""One evaluation from orders to summary; reads from top to bottom.

Called by main.py. Everything that decides is elsewhere and pure: cases, judge, metrics, advice. Cancelled, it keeps
what is finished in the work folder, and the next attempt goes on from there.
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from plumbline_api.alignment import Reuse
from plumbline_api.artifact import MediaType, Parent
from plumbline_api.metrics import JudgeQuality
from plumbline_api.redteam import RedTeamSuiteSpec
from plumbline_api.report import CaseResult, Outcome, Report, Result, Summary
from plumbline_api.runfile import RunFile
from plumbline_api.scalars import parse_duration
from plumbline_evaluator.advice import advise
from plumbline_evaluator.cases import Case
from plumbline_evaluator.conversation import Patience
from plumbline_evaluator.errors import BadOrders
from plumbline_evaluator.judge import Calibration, identify_judge, judge_answers
from plumbline_evaluator.ledger import Binding, Ledger
from plumbline_evaluator.metrics import count_coverage, measure, pack
from plumbline_evaluator.progress import Meter
from plumbline_evaluator.runner import Plan, run_cases
from plumbline_evaluator.suite import digest_cases, list_cases
from plumbline_evaluator.target import Sampling, Target
from plumbline_evaluator.trust import parse_trust
from plumbline_store import Reporter, Store, open_store

__all__ = ["Surroundings", "execute", "judge_case"]

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class Surroundings:
    """What an evaluation is given besides its orders."""

    work: Path
    target: str
    progress: Reporter
    wait: float
    """Seconds the target may take to come up."""
    now: Callable[[], datetime]
    patience: float = 0.25
    """Seconds before the first repetition of a failed request."""
    trust: str | None = None
    """The public keys (PEM) by which the subject must be signed; None where that is not asked."""


@dataclass
class _Clock:
    """Seconds by part of the work."""

    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time one part."""
        began = time.monotonic()
        yield
        self.timings[name] = round(time.monotonic() - began, 3)


async def execute(run: RunFile, around: Surroundings) -> Summary:
    """Do what the RunFile says, or find that it has been done.

    Raises:
        EvaluationError: it cannot be done.
        StoreError: the store cannot be used, or the subject is not signed as it must be.
    """
    began = around.now()
    suite, model = _orders(run)
    _check_signature(run, around.trust)
    store = open_store(run.store)
    known = store.recall(run.cache_key) if run.reuse is not Reuse.NEVER else None
    if known is not None:
        return known.model_copy(update={"cached": True})
    clock = _Clock()
    with clock.part("cases"):
        cases = list_cases(suite)
    with clock.part("calibration"):
        judges = Calibration.installed().check()
    with clock.part("attack"):
        results = await _attack(run, suite, model, cases, around)
    summary = _summarise(run, cases, results, judges)
    report = _report(run, summary, results, clock, began, around.now())
    summary = _publish(store, report, model)
    if summary.coverage is not None and not summary.coverage.errors:
        store.record(run.cache_key, summary)
    return summary


def _orders(run: RunFile) -> tuple[RedTeamSuiteSpec, str]:
    """The suite and the digest of the subject."""
    if run.work.red_team is None:
        raise BadOrders(f"work: this program does redTeam, not {run.work.chosen}; start the image that does it")
    if "model" not in run.inputs:
        raise BadOrders("inputs: there is no `model`, so nothing says what is judged; name its digest")
    return run.work.red_team, run.inputs["model"].digest


def _check_signature(run: RunFile, trust: str | None) -> None:
    """The engine, which refuses to serve what is not signed, is waited for; what this is told of at once is not."""
    keys = parse_trust(trust)
    if keys is None:
        return
    subject = run.inputs["model"]
    open_store(subject.uri).check_signature(subject.digest, keys)


async def _attack(
    run: RunFile, suite: RedTeamSuiteSpec, model: str, cases: Sequence[Case], around: Surroundings
) -> tuple[CaseResult, ...]:
    """Ask and judge every case; the subject is checked before and after."""
    options = suite.generation
    sampling = Sampling(
        max_tokens=options.max_tokens,
        temperature=float(options.temperature),
        timeout=parse_duration(options.timeout),
        seed=run.seed,
        connections=options.concurrency,
    )
    plan = Plan(options.concurrency, Patience(options.retries, around.patience), suite.system_prompt, run.seed)
    binding = Binding(run.cache_key, digest_cases(cases), model, identify_judge())
    async with Target(around.target, sampling) as target:
        await target.wait_for(model, around.wait)
        with Ledger(around.work, binding) as ledger, Meter(around.progress, len(cases), around.now) as meter:
            results = await run_cases(cases, target, judge_case, plan, ledger, meter)
        await target.wait_for(model, sampling.timeout)
    return results


def judge_case(case: Case, answers: Sequence[str]) -> Outcome:
    """Judge what was said from the turn that holds the request on."""
    first = next((place for place, turn in enumerate(case.turns) if case.request in turn), len(case.turns) - 1)
    return judge_answers(case.request, answers[first:], harmful=case.harmful)


def _summarise(
    run: RunFile, cases: Sequence[Case], results: Sequence[CaseResult], judges: tuple[JudgeQuality, ...]
) -> Summary:
    coverage = count_coverage(results, len(cases))
    message = f"{coverage.judged} of {coverage.asked} cases judged"
    if coverage.errors:
        message += f"; {coverage.errors} brought no answer and are in no rate, so a gate cannot pass on this"
    return Summary(
        result=Result.SUCCEEDED,
        message=message,
        cache_key=run.cache_key,
        subject=run.inputs["model"].digest,
        cases=digest_cases(cases),
        rows=measure(results),
        outcomes=pack(results),
        coverage=coverage,
        judges=judges,
    )


def _report(
    run: RunFile, summary: Summary, results: tuple[CaseResult, ...], clock: _Clock, began: datetime, ended: datetime
) -> Report:
    return Report(
        summary=summary,
        owner=run.owner,
        stage=run.stage,
        image=run.image,
        inputs={role: given.digest for role, given in run.inputs.items()},
        start_time=began,
        completion_time=ended,
        timings=clock.timings,
        versions={
            "python": platform.python_version(),
            "plumbline-evaluator": version("plumbline-evaluator"),
            "aiohttp": version("aiohttp"),
            "judge": identify_judge(),
        },
        counts={f"{side}{outcome}": _count(results, outcome, side) for side in _SIDES for outcome in Outcome},
        results=results,
        advice=advise(summary.rows, summary.coverage) if summary.coverage is not None else (),
    )


_SIDES = ("harmful", "benign")


def _count(results: Sequence[CaseResult], outcome: Outcome, side: str) -> int:
    return sum(result.outcome is outcome and result.harmful is (side == "harmful") for result in results)


def _publish(store: Store, report: Report, model: str) -> Summary:
    """Publish the full report; the summary that refers to it."""
    reference = store.publish_bytes(
        {REPORT_FILE: report.pretty().encode()}, MediaType.REPORT, parents=[Parent(role="model", digest=model)]
    )
    return report.summary.model_copy(update={"report": reference})
