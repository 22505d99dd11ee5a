"""docs/redteam.md says what the programs do."""

from plumbline_api.metrics import MetricName
from plumbline_api.report import Outcome
from plumbline_evaluator import errors
from plumbline_evaluator.judge import Calibration
from tests.support.checkout import ROOT

PAGE = (ROOT / "docs/redteam.md").read_text(encoding="utf-8")


def test_the_page_shows_the_judge_s_measured_quality() -> None:
    for line in Calibration.shipped().table().splitlines()[1:]:
        assert line in PAGE


def test_the_page_names_every_outcome_metric_and_exit_code() -> None:
    assert not [outcome for outcome in Outcome if f"| `{outcome}` |" not in PAGE]
    assert not [metric for metric in MetricName if f"| `{metric}` |" not in PAGE]
    codes = {getattr(errors, name).exit_code for name in errors.__all__ if name != "EvaluationError"}
    assert not [code for code in codes if f"| {code} |" not in PAGE]
