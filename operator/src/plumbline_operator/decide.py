"""decide: from what is wanted and what is observed to what must happen. The whole product hangs on this function.

Pure: it awaits nothing, reads no clock and calls nothing that can time out. Called by the loops of local mode and of
the operator; the kinds have a decider each.
"""

from datetime import datetime

from plumbline_api.alignment import AlignmentRun, AlignmentRunStatus
from plumbline_api.gate import EvalGate, EvalGateStatus
from plumbline_api.guarded import GuardedInference, GuardedInferenceStatus
from plumbline_api.redteam import RedTeamSuite, RedTeamSuiteStatus
from plumbline_operator.decision import Decision
from plumbline_operator.kinds.alignment import decide_run
from plumbline_operator.kinds.gate import decide_gate
from plumbline_operator.kinds.inference import decide_inference
from plumbline_operator.kinds.suite import decide_suite
from plumbline_operator.observed import Observed, PlumblineObject

__all__ = ["decide"]


def decide(wanted: PlumblineObject, observed: Observed, now: datetime) -> Decision:
    """The Decision for one object of any kind.

    Deciding again on a world in which the Decision was carried out gives an empty Decision. For an object that is
    being deleted nothing is decided at all: its children go with it, and none may be made anew.

    Raises:
        TypeError: when the observed status is not of the object's kind.
    """
    if observed.deleting:
        return Decision(status=observed.status)
    match wanted, observed.status:
        case AlignmentRun(), AlignmentRunStatus() as status:
            return decide_run(wanted, observed, status, now)
        case RedTeamSuite(), RedTeamSuiteStatus() as status:
            return decide_suite(wanted, observed, status, now)
        case EvalGate(), EvalGateStatus() as status:
            return decide_gate(wanted, observed, status, now)
        case GuardedInference(), GuardedInferenceStatus() as status:
            return decide_inference(wanted, observed, status, now)
    raise TypeError(f"{observed.key} has a {type(observed.status).__name__}")
