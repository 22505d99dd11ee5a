"""Files that objects name: imported into the store, or why they cannot be. Called by `cluster` and `session`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from plumbline_api.reasons import Reason
from plumbline_api.runfile import Input
from plumbline_operator.observed import InputState, PlumblineObject, PlumblineStatus, Problem
from plumbline_operator.plan.inputs import NeededInput, needed_inputs
from plumbline_operator.references import resolved_inputs
from plumbline_store import Store, StoreError

if TYPE_CHECKING:
    from plumbline_store.signing import SigningKey

__all__ = ["changed_input", "resolve_inputs"]


def resolve_inputs(
    thing: PlumblineObject, status: PlumblineStatus, file: str, store: Store, signing: "SigningKey | None" = None
) -> Mapping[str, InputState]:
    """Every input of an object, signed where there is a key; what its status has resolved is not looked at again."""
    known = resolved_inputs(status)
    return {
        name: InputState(resolved=known[name]) if name in known else _import(name, needed, file, store, signing)
        for name, needed in needed_inputs(thing).items()
    }


def changed_input(thing: PlumblineObject, status: PlumblineStatus, file: str, store: Store) -> str | None:
    """The first resolved input whose file holds something else now, in words; None where all are as they were.

    A file that is gone is no change: what was resolved is in the store.
    """
    known = resolved_inputs(status)
    for name, needed in needed_inputs(thing).items():
        path = _locate(needed, file)
        if name not in known or not path.exists():
            continue
        found = store.import_path(path, needed.media_type).digest
        if found != known[name].digest:
            return f"input {name} ({path}) had digest {known[name].digest} and has {found} now"
    return None


def _locate(needed: NeededInput, file: str) -> Path:
    return Path(file).parent / needed.source.path


def _import(name: str, needed: NeededInput, file: str, store: Store, signing: "SigningKey | None") -> InputState:
    path = _locate(needed, file)
    if not path.exists():
        message = f"{file}: input {name} names {path}, which does not exist; create it, or correct the path"
        return InputState(problem=Problem(Reason.NOT_FOUND, message))
    try:
        made = store.import_path(path, needed.media_type)
        if signing is not None:
            store.sign(made.digest, signing)
    except StoreError as error:
        return InputState(problem=Problem(error.reason, f"{file}: input {name}: {error}"))
    return InputState(resolved=Input(uri=made.uri, digest=made.digest))
