"""What holds for every manifest: the valid come back equal, the broken are told in plain words and never crash."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plumbline_api.alignment import AlignmentRun
from plumbline_api.configmap import ConfigMap
from plumbline_api.gate import EvalGate
from plumbline_api.guarded import GuardedInference
from plumbline_api.manifests import Object, parse_manifests
from plumbline_api.redteam import RedTeamSuite
from tests.support.documents import documents

KINDS: list[type[Object]] = [AlignmentRun, RedTeamSuite, EvalGate, GuardedInference, ConfigMap]
JARGON = ("Input should", "pydantic", "https:", "str_", "Value error", "valid dictionary", "[type=", "Tuple", "None")
QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
odd_values: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 10**30, 1.5, "", "x", "\x00", "\ud83d\ude00", [], {}, [None], {"a": {}}]
)


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_a_valid_object_comes_back_equal(kind: type[Object], data: st.DataObject) -> None:
    item = data.draw(documents(kind))
    written = {"apiVersion": item.api_version, "kind": item.kind, **item.dump()}
    found = parse_manifests(json.dumps(written, ensure_ascii=False), "m.yaml")
    assert found.problems == ()
    assert [located.object for located in found.objects] == [item]
    assert kind.parse(item.dump()) == item


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_a_broken_object_is_told_in_plain_words(kind: type[Object], data: st.DataObject) -> None:
    written = data.draw(documents(kind)).dump()
    written |= {"apiVersion": "v1" if kind is ConfigMap else "plumbline.dev/v1alpha1", "kind": kind.__name__}
    break_somewhere(written, data)
    text = json.dumps(written, indent=1)
    found = parse_manifests(text, "m.yaml")
    assert found.problems or found.objects or written.get("kind") is None
    for problem in found.problems:
        assert 1 <= problem.line <= text.count("\n") + 1
        assert not [word for word in JARGON if word in problem.message]


def break_somewhere(data: dict[str, Any], source: st.DataObject) -> None:
    """Put an odd value in the place of a value, or add a field."""
    here: Any = data
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = source.draw(st.sampled_from(keys))
        deeper = here[key]
        if not isinstance(deeper, dict | list) or not deeper or source.draw(st.integers(0, 4)) == 0:
            break
        here = deeper
    if isinstance(here, dict) and source.draw(st.booleans()):
        here[f"{key}x"] = source.draw(odd_values)
    else:
        here[key] = source.draw(odd_values)


@QUICK
@given(st.text(max_size=60))
def test_any_text_is_read_or_told(text: str) -> None:
    found = parse_manifests(text, "m.yaml")
    assert all(problem.line >= 1 for problem in found.problems)
