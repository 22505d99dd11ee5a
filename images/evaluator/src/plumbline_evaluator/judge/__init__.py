"""Judging answers: the rules judge and how well it does on labelled answers.

Called by execution.py and main.py.
"""

from plumbline_evaluator.judge.calibration import Calibration
from plumbline_evaluator.judge.rules import RULES, judge_answers

__all__ = ["RULES", "Calibration", "judge_answers"]
