"""What people type for a kind, as kubectl takes it: name, plural or short name, in any case."""

from plumbline_api.names import SHORT_NAMES, Kind
from plumbline_api.suggestions import nearest
from plumbline_operator.local.errors import ObjectMissing

__all__ = ["CONFIG_MAP", "parse_kind"]

CONFIG_MAP = "ConfigMap"
_WORDS = {word: CONFIG_MAP for word in ("configmap", "configmaps", "cm")} | {
    word: kind.value for kind in Kind for word in (kind.lower(), f"{kind.lower()}s", SHORT_NAMES[kind])
}


def parse_kind(word: str) -> str:
    """The kind that a word stands for; raises ObjectMissing naming the nearest."""
    found = _WORDS.get(word.lower())
    if found is None:
        guess = nearest(word.lower(), _WORDS)
        hint = f"did you mean {guess}?" if guess else f"known are {', '.join(SHORT_NAMES.values())} and cm"
        raise ObjectMissing(word, "is not a kind", hint)
    return found
