"""Arguments of tool calls: escapes hide nothing, and harmless ones arrive as they were."""

import json

import pytest

from plumbline_guard.arguments import ArgumentsScanner
from plumbline_guard.rules import compile_output
from plumbline_guard.scanner import HOLD_LIMIT, ForbiddenError, HeldTooLongError
from tests.support.guards import never, on_output

RULES = compile_output([never("canary one"), on_output(pattern=r"^path/to$", rule_id="path")])


def scan(*pieces: str) -> str:
    scanner = ArgumentsScanner(RULES)
    try:
        return "".join([*map(scanner.feed, pieces), scanner.finish()])
    finally:
        scanner.close()


@pytest.mark.parametrize(
    "arguments",
    [
        '{"key": "canary one"}',
        '{"key": "c\\u0061nary one"}',
        '{"c\\u0061nary one": 1}',
        '{"list": [{"deep": "canary\\none"}]}',
        '{"key": "path\\/to"}',
        'not JSON: c\\u0061nary one"',
    ],
)
def test_a_forbidden_argument_is_found_however_it_is_escaped(arguments: str) -> None:
    for place in range(len(arguments)):
        with pytest.raises(ForbiddenError):
            scan(arguments[:place], arguments[place:])


def test_harmless_arguments_arrive_as_they_were() -> None:
    arguments = json.dumps({"task": "Grüße\n an 日本", "at": 9})
    assert scan(*arguments) == arguments


def test_arguments_without_escapes_are_not_held() -> None:
    scanner = ArgumentsScanner(RULES)
    assert scanner.feed('{"task": ') == '{"task": '
    assert scanner.feed('"a\\n') == ""
    scanner.close()


def test_endless_arguments_cannot_be_judged() -> None:
    scanner = ArgumentsScanner(RULES)
    with pytest.raises(HeldTooLongError):
        scanner.feed("x" * (HOLD_LIMIT + 1))
    scanner.close()
