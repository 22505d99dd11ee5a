"""References between objects: names that nobody has, names that two have, labels that a suite does not measure.

Called with all manifests at hand by `plumbline validate` and `plumbline run`. Pure.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from plumbline_api.alignment import AlignmentRun
from plumbline_api.configmap import ConfigMap
from plumbline_api.gate import EvalGate
from plumbline_api.guarded import GuardedInference
from plumbline_api.manifests import Located, Object, Problem
from plumbline_api.metrics import Label, Split, parse_selector
from plumbline_api.names import RULES_KEY, Kind
from plumbline_api.redteam import RedTeamSuite
from plumbline_api.suggestions import nearest

__all__ = ["ObjectName", "check_references"]

CONFIG_MAP: Final = "ConfigMap"


class ObjectName(NamedTuple):
    """What identifies an object."""

    kind: str
    namespace: str
    name: str


class _Reference(NamedTuple):
    path: str
    target: ObjectName


def check_references(
    located: Sequence[Located[Object]], existing: Collection[ObjectName] = frozenset()
) -> tuple[Problem, ...]:
    """What is wrong between the objects given, where `existing` ones were applied earlier and may be referred to."""
    first: dict[ObjectName, Located[Object]] = {}
    problems: list[Problem] = []
    for item in located:
        other = first.setdefault(_name(item.object), item)
        if other is not item:
            where = f"{other.filename}:{other.line}"
            kind = item.object.kind
            problems.append(item.problem("metadata.name", f"another {kind} has this name ({where}); rename one"))
    known = {*first, *existing}
    for item in located:
        problems += [_unknown(item, reference, known) for reference in _references(item.object)
                     if reference.target not in known]  # fmt: skip
        problems += _circle(item, first)
        if isinstance(item.object, EvalGate):
            problems += _labels(item, item.object, first)
        if isinstance(item.object, GuardedInference):
            problems += _rules(item, item.object, first)
    return tuple(problems)


def _name(item: Object) -> ObjectName:
    return ObjectName(item.kind, item.metadata.namespace, item.metadata.name)


def _references(item: Object) -> Iterator[_Reference]:
    def refer(path: str, kind: str, name: str) -> _Reference:
        return _Reference(path, ObjectName(kind, item.metadata.namespace, name))

    match item:
        case AlignmentRun(spec=spec) if spec.model.run is not None:
            yield refer("spec.model.run.name", Kind.ALIGNMENT_RUN, spec.model.run.name)
        case EvalGate(spec=spec):
            for index, suite in enumerate(spec.suites):
                yield refer(f"spec.suites[{index}].name", Kind.RED_TEAM_SUITE, suite.name)
            for role, subject in (("subject", spec.subject), ("baseline", spec.baseline)):
                if subject is not None and subject.alignment_run is not None:
                    path = f"spec.{role}.alignmentRun.name"
                    yield refer(path, Kind.ALIGNMENT_RUN, subject.alignment_run.name)
        case GuardedInference(spec=spec):
            yield refer("spec.gate.name", Kind.EVAL_GATE, spec.gate.name)
            if spec.guard.rules is not None:
                yield refer("spec.guard.rules.configMap.name", CONFIG_MAP, spec.guard.rules.config_map.name)


def _unknown(item: Located[Object], reference: _Reference, known: Collection[ObjectName]) -> Problem:
    kind, namespace, name = reference.target
    same = sorted(other.name for other in known if other.kind == kind and other.namespace == namespace)
    return item.problem(
        reference.path,
        f"there is no {kind} named {name} in namespace {namespace}; add its manifest or correct the name",
        nearest(name, same),
    )


def _circle(item: Located[Object], known: dict[ObjectName, Located[Object]]) -> Iterator[Problem]:
    """A run that waits, over any number of others, for itself."""
    start, seen = _name(item.object), set[ObjectName]()
    current: Located[Object] | None = item
    while current is not None and isinstance(current.object, AlignmentRun):
        target = next((reference.target for reference in _references(current.object)), None)
        if target == start:
            yield item.problem("spec.model.run.name", "the run starts from its own output; name an earlier run")
        if target is None or target in seen or target == start:
            return
        seen.add(target)
        current = known.get(target)


def _labels(item: Located[Object], gate: EvalGate, known: dict[ObjectName, Located[Object]]) -> Iterator[Problem]:
    """Values of labels in rules that a suite does not have."""
    for index, rule in enumerate(gate.spec.rules):
        for label, value in parse_selector(rule.metric)[1].items():
            for reference in gate.spec.suites:
                found = known.get(ObjectName(Kind.RED_TEAM_SUITE, gate.metadata.namespace, reference.name))
                if found is None or not isinstance(found.object, RedTeamSuite):
                    continue
                values = _values(found.object, Label(label))
                if value not in values:
                    fact = f"suite {reference.name} has no {label} {value}; it has {', '.join(values)}"
                    yield item.problem(f"spec.rules[{index}].metric", fact, nearest(value, values))


def _values(suite: RedTeamSuite, label: Label) -> tuple[str, ...]:
    match label:
        case Label.CATEGORY:
            return tuple(suite.spec.categories)
        case Label.ATTACK:
            return tuple(attack.label for attack in suite.spec.attacks)
        case Label.SPLIT:
            return tuple(Split)


def _rules(
    item: Located[Object], served: GuardedInference, known: dict[ObjectName, Located[Object]]
) -> Iterator[Problem]:
    """A ConfigMap for guard rules that holds none."""
    if served.spec.guard.rules is None:
        return
    name = served.spec.guard.rules.config_map.name
    found = known.get(ObjectName(CONFIG_MAP, served.metadata.namespace, name))
    if found is not None and isinstance(found.object, ConfigMap) and RULES_KEY not in found.object.data:
        fact = f"the ConfigMap {name} ({found.filename}:{found.line}) has no key {RULES_KEY}; put the rules under it"
        yield item.problem("spec.guard.rules.configMap.name", fact)
