"""Fitting a summary into a termination message."""

import random
from pathlib import Path

import pytest

from plumbline_api.artifact import ArtifactRef, MediaType
from plumbline_api.metrics import JudgeQuality, MetricName
from plumbline_api.model import canonical_json
from plumbline_api.names import SUMMARY_LIMIT_BYTES
from plumbline_api.redteam import Category
from plumbline_api.report import CaseResult, Outcome, Result, Summary
from plumbline_evaluator.attacks import ATTACKS
from plumbline_evaluator.corpora import Split
from plumbline_evaluator.errors import BadInstallation
from plumbline_evaluator.metrics import count_coverage, measure, pack
from plumbline_evaluator.summary import fit, leave

DIGEST = "sha256:" + "a" * 64


def largest(cases: int = 4000) -> Summary:
    """All categories, attacks and splits, with outcomes that do not compress."""
    rng = random.Random(3)
    results = tuple(
        CaseResult(
            id=str(number),
            harmful=number % 2 == 0,
            labels={
                "category": list(Category)[number // 2 % 8],
                "attack": list(ATTACKS)[number // 16 % 5],
                "split": list(Split)[number // 80 % 2],
            },
            outcome=rng.choice([Outcome.COMPLIED, Outcome.REFUSED]),
        )
        for number in range(cases)
    )
    judge = JudgeQuality(
        judge="rules-1", labelled_set="pyrit-refusal", true_positives=60, false_positives=15, false_negatives=9,
        true_negatives=94,
    )  # fmt: skip
    return Summary(
        result=Result.SUCCEEDED,
        message=f"{cases} of {cases} cases judged",
        cache_key=DIGEST,
        report=ArtifactRef(uri="file:///" + "x" * 200, digest=DIGEST, media_type=MediaType.REPORT, size=10**6),
        cases=DIGEST,
        rows=measure(results),
        outcomes=pack(results),
        coverage=count_coverage(results, cases),
        judges=(judge, judge),
    )


@pytest.mark.parametrize("cases", [80, 480, 1920, 4000])
def test_the_largest_suite_fits(cases: int) -> None:
    assert len(canonical_json(fit(largest(cases)))) <= SUMMARY_LIMIT_BYTES


def test_overall_rates_splits_and_outcomes_always_stay() -> None:
    fitted = fit(largest(1920))
    assert len([row for row in fitted.rows if not row.labels]) == 4
    assert len([row for row in fitted.rows if "split" in row.labels]) == 8
    assert fitted.outcomes == largest(1920).outcomes


def test_harmful_compliance_by_category_stays_before_any_other_breakdown() -> None:
    fitted = fit(largest(480))
    kept = [row for row in fitted.rows if "category" in row.labels]
    assert {row.labels["category"] for row in kept if row.metric is MetricName.HARMFUL_COMPLIANCE_RATE} == set(Category)


def test_what_is_left_out_is_told() -> None:
    whole, fitted = largest(), fit(largest())
    left_out = len(whole.rows) - len(fitted.rows)
    assert left_out > 0
    assert f"{left_out} of 64 rows by category and attack stand in the full report only" in fitted.message
    assert whole.message in fitted.message


def test_what_fits_is_left_as_it_is() -> None:
    small = Summary(result=Result.SUCCEEDED, message="fine")
    assert fit(small) is small


def test_a_summary_is_left_in_one_step(tmp_path: Path) -> None:
    place = tmp_path / "termination-log"
    place.write_text("old")
    leave(largest(), place)
    assert Summary.read(place.read_bytes()).result is Result.SUCCEEDED
    assert list(tmp_path.iterdir()) == [place]


def test_a_summary_without_a_place_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BadInstallation, match=r"absent/log: .*PLUMBLINE_TERMINATION_LOG"):
        leave(largest(), tmp_path / "absent" / "log")
