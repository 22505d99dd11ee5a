"""Walking JSON values. Used where every string counts: chat.py and arguments.py."""

from collections.abc import Iterator

__all__ = ["strings_in"]


def strings_in(value: object) -> Iterator[str]:
    """Every string within a JSON value, keys included, in order."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, str):
            yield current
        elif isinstance(current, dict):
            waiting.extend(reversed([part for item in current.items() for part in item]))
        elif isinstance(current, list):
            waiting.extend(reversed(current))
