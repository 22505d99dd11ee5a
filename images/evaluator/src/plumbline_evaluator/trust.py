"""The keys that a model must be signed by, where any are asked for. Called by execution and checkout."""

from typing import TYPE_CHECKING

from plumbline_api.names import ENV_TRUST

if TYPE_CHECKING:
    from plumbline_store.signing import Trust

__all__ = ["parse_trust"]


def parse_trust(text: str | None) -> "Trust | None":
    """The keys in a text (PEM); None where nobody asks for signatures, and then nothing of cryptography is loaded.

    Raises:
        KeyUnusable: It is asked for, and there is no such key.
    """
    if text is None:
        return None
    from plumbline_store.signing import Trust

    return Trust.parse(text, ENV_TRUST)
