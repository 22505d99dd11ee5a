"""Where two manifests differ, in words for a person. Called by `session`; pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["first_difference"]

LONGEST = 60
ABSENT = "absent"


def first_difference(before: Any, after: Any, path: str) -> str | None:
    """The first field that differs, with both values; None where nothing does."""
    return next(_differences(before, after, path), None)


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key, ABSENT), after.get(key, ABSENT), f"{path}.{key}")
    elif _is_list(before) and _is_list(after) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != after:
        yield f"{path} was {_show(before)} and is {_show(after)} now"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _show(value: Any) -> str:
    if value == ABSENT:
        return ABSENT
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
