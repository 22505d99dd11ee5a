"""Argo CD's Lua machine, as its util/lua/lua.go sets it up.

Lua 5.1 with the base, package and table libraries, and an `os` that knows the time alone, for whoever requires it.
"""

from dataclasses import dataclass
from typing import Any

from lupa.lua51 import LuaRuntime, lua_type

from tests.support.checkout import ROOT

__all__ = ["ARGOCD", "Health", "discover", "health_of", "perform"]

ARGOCD = ROOT / "charts/plumbline/argocd"
STATES = {"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}
"""What isValidHealthStatusCode lets pass."""
TAKEN_AWAY = ("os", "string", "math", "io", "debug", "coroutine", "bit", "jit")
SAFE_OS = "local safe = {time = os.time, date = os.date}; package.preload.os = function() return safe end"

Object = dict[str, Any]


@dataclass(frozen=True)
class Health:
    """What Argo CD shows of an object."""

    status: str
    message: str


def health_of(script: str, thing: Object) -> Health:
    """The health that a script gives an object."""
    found = _run(script, thing)
    assert isinstance(found, dict), f"a health script gives a table, not {found!r}"
    assert found["status"] in STATES, f"Argo CD calls {found['status']} an invalid health status"
    return Health(found["status"], found["message"])


def discover(script: str, thing: Object) -> dict[str, bool]:
    """The actions that a discovery script offers for an object, and whether each can be taken now."""
    found = _run(script, thing)
    return {name: not (isinstance(value, dict) and value.get("disabled")) for name, value in found.items()}


def perform(script: str, thing: Object) -> Object:
    """What an action makes of an object. As cleanReturnedObj does, an empty map stays one."""
    changed = _run(script, thing)
    assert isinstance(changed, dict)
    return {key: _clean(value, thing.get(key)) for key, value in changed.items()}


def _run(script: str, thing: Object) -> Any:
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    lua.execute(SAFE_OS)
    for library in TAKEN_AWAY:
        lua.execute(f"{library}, package.loaded.{library} = nil, nil")
    lua.globals()["obj"] = _to_lua(lua, thing)
    return _from_lua(lua.execute(script))


def _to_lua(lua: LuaRuntime, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _to_lua(lua, part) for key, part in value.items() if part is not None})
    if isinstance(value, list):
        return lua.table_from([_to_lua(lua, part) for part in value])
    return value


def _from_lua(value: Any) -> Any:
    """A table as gopher-json writes it: a list where its keys count from 1, and an empty one too."""
    if lua_type(value) != "table":
        return value
    found = dict(value.items())
    if set(found) == set(range(1, len(found) + 1)):
        return [_from_lua(found[index]) for index in sorted(found)]
    return {key: _from_lua(part) for key, part in found.items()}


def _clean(new: Any, old: Any) -> Any:
    if isinstance(old, dict) and new == []:
        return old
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: _clean(part, old.get(key)) for key, part in new.items()}
    if isinstance(old, list) and isinstance(new, list):
        return [_clean(part, before) for part, before in zip(new, old, strict=True)]
    return new
