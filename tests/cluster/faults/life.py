"""A whole life: a run of two stages, a suite, a gate with a baseline, a served model, from nothing to Serving.

One namespace is one life. Names of children are computed from their content, so every life has the same ones.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import count
from typing import Any, Final

from plumbline_api.model import Document
from plumbline_api.names import RULES_KEY, Kind
from tests.cluster.client import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, KubeClient, Object
from tests.cluster.faults.ledger import Fault
from tests.cluster.faults.nodes import BASE
from tests.cluster.faults.witness import Witness
from tests.cluster.operating import apply, apply_inputs, children
from tests.support import build

__all__ = ["NAMES", "PATIENCE", "Life", "unlike"]

RULES: Final = "rules:\n- {id: secret, pattern: 'hunter[0-9]'}\n"
NAMES: Final[Mapping[Kind, str]] = {
    Kind.ALIGNMENT_RUN: "base",
    Kind.RED_TEAM_SUITE: "attacks",
    Kind.EVAL_GATE: "gate",
    Kind.GUARDED_INFERENCE: "served",
}
STAGES: Final = 2
PATIENCE: Final = 90.0
TIMES: Final = frozenset({"lastTransitionTime", "startTime", "completionTime", "lastUpdatedTime"})
NUMBERS = count(1)


def digest_made(stage: int) -> str:
    """What a stage makes."""
    output = build.training_summary(f"s{stage}").output
    assert output is not None
    return output.digest


def facts() -> Mapping[Kind, set[str]]:
    """What the statuses of a life say in the end."""
    subject = digest_made(STAGES - 1)
    return {
        Kind.ALIGNMENT_RUN: {
            *(f"stage s{stage} made {digest_made(stage)}" for stage in range(STAGES)),
            f"the run made {subject}",
        },
        Kind.RED_TEAM_SUITE: {f"executed against {subject}", f"executed against {build.digest(BASE)}"},
        Kind.EVAL_GATE: {f"verdict Passed over {subject}"},
        Kind.GUARDED_INFERENCE: {f"serving {subject}"},
    }


FACTS: Final = facts()


@dataclass(frozen=True)
class Life:
    """One, under way."""

    namespace: str
    kube: KubeClient
    witness: Witness

    @classmethod
    async def begin(cls, kube: KubeClient, witness: Witness, **changes: Any) -> "Life":
        """In a namespace of its own, from the moment in which everything is applied."""
        namespace = f"life-{next(NUMBERS)}"
        await kube.create(NAMESPACES, {"metadata": {"name": namespace}})
        await kube.until(SERVICE_ACCOUNTS, "default", namespace, lambda _: True)
        await apply_inputs(kube, namespace, "init", "data.jsonl", BASE)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules"}, "data": {RULES_KEY: RULES}}
        await kube.apply(CONFIG_MAPS, body, namespace)
        baseline = {"metric": "harmful_compliance_rate", "reductionFromBaseline": "0.5", "confidence": "0.9"}
        rules = [{"metric": "harmful_compliance_rate", "atMost": "0.05"}, baseline]
        await apply(
            kube,
            namespace,
            build.inference(guard={"rules": {"configMap": {"name": "rules"}}}, replicas=2),
            build.gate(baseline={"file": {"path": BASE}}, rules=rules),
            build.suite(),
            build.run(stages=STAGES, **changes),
        )
        return cls(namespace, kube, witness)

    @property
    def missing(self) -> list[str]:
        """What the statuses do not say yet."""
        found = [
            f"{self.namespace}/{kind}: {fact}"
            for kind, wanted in FACTS.items()
            for fact in wanted - self.witness.facts[self.namespace, kind, NAMES[kind]]
        ]
        return found + [f"{self.namespace}/{kind} is not Ready" for kind in Kind if not self._is_ready(kind)]

    def _is_ready(self, kind: Kind) -> bool:
        conditions = self.witness.status(self.namespace, kind, NAMES[kind]).get("conditions") or ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    @property
    def over(self) -> bool:
        """Whether it is at its end."""
        return not self.missing

    async def ended(self, seconds: float = PATIENCE) -> bool:
        """Whether it comes to its end within so many seconds."""
        return await self.witness.until(lambda: self.over, seconds)

    def count(self, fault: Fault, *, struck: int = 1) -> None:
        """Enter what came of it."""
        lost = self.missing + self.witness.lost(self.namespace)
        fault.count(
            struck=struck, objects=len(Kind), duplicates=self.witness.duplicates(self.namespace), lost=len(lost)
        )

    async def end(self) -> Object:
        """Statuses and children, less all times and this life's namespace: the same for every life."""
        statuses = {kind: self.witness.status(self.namespace, kind, NAMES[kind]) for kind in Kind}
        found = {"children": await children(self.kube, self.namespace), "statuses": timeless(statuses)}
        # Executions stand in the order in which they were seen to end.
        found["statuses"][Kind.RED_TEAM_SUITE].get("executions", []).sort(key=lambda one: one["job"])
        found["children"]["pods"] = [name.rpartition("-")[0] for name in found["children"]["pods"]]
        parsed: Object = json.loads(json.dumps(found).replace(self.namespace, "NAMESPACE"))
        return parsed

    async def clear(self) -> None:
        """Let it be removed behind everybody's back."""
        await self.kube.delete(NAMESPACES, self.namespace)


def timeless(value: Any) -> Any:
    """Plain data without moments."""
    if isinstance(value, Mapping):
        return {key: timeless(one) for key, one in value.items() if key not in TIMES}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [timeless(one) for one in value]
    return value.dump() if isinstance(value, Document) else value


def unlike(expected: Object, ends: Iterable[tuple[object, Object]]) -> dict[str, list[str]]:
    """Those of several named ends that differ from the expected, each with the lines in which they do."""
    return {str(name): differences(expected, end) for name, end in ends if end != expected}


def differences(expected: Object, found: Object) -> list[str]:
    """The lines in which two ends differ."""
    before, after = (json.dumps(one, indent=1, sort_keys=True).splitlines() for one in (expected, found))
    lines = unified_diff(before, after, lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]
