"""Whether an object can have the engine that it asks for: it has an image, and the gate judged with the same. Pure."""

from plumbline_api.engine import Engine
from plumbline_api.gate import EvalGate
from plumbline_api.reasons import Reason
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.engines import images_of
from plumbline_operator.status.conditions import Stopped

__all__ = ["lacking_image", "other_engine"]


def lacking_image(engine: Engine, runtime: Runtime) -> Stopped | None:
    """Why the engine cannot run here; None where it can."""
    lacking = [image for image in images_of(engine) if image not in runtime.images]
    if not lacking:
        return None
    fact = f"spec.engine.type is {engine.type}, but this installation names no image for it"
    remedy = f"set images.{lacking[0]}.digest in the chart's values (`plumbline run` has none), or take another engine"
    return Stopped(Reason.UNSUPPORTED_BY_RUNTIME, f"{fact}; {remedy}")


def other_engine(engine: Engine, gate: EvalGate) -> Stopped | None:
    """Why what passed the gate says nothing of this engine: another one, or another precision, answers otherwise."""
    judged = gate.spec.engine
    if judged.precision == engine.precision:
        return None
    name = gate.metadata.name
    fact = f"EvalGate {name} judges what {_told(judged)} answers, and spec.engine asks for {_told(engine)}"
    return Stopped(Reason.NO_PASSED_SUBJECT, f"{fact}; give both the same type and precision")


def _told(engine: Engine) -> str:
    options = [f"{name} {value}" for name, value in sorted(engine.precision.items()) if name != "type"]
    return engine.type.value + (f" ({', '.join(options)})" if options else "")
