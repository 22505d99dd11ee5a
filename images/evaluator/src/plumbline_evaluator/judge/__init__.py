"""Judging answers: the rules judge and how well it does on labelled answers.

Called by execution.py and main.py.
"""

from plumbline_evaluator.judge.calibration import Calibration
from plumbline_evaluator.judge.identity import identify_judge
from plumbline_evaluator.judge.rules import judge_answers

__all__ = ["Calibration", "identify_judge", "judge_answers"]
