"""Files that objects name, in a cluster: a ConfigMap maps their paths to digests in the store. Pure.

`plumbline push` publishes the files and writes that ConfigMap; the operator itself never reads a file of a user's.
"""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from plumbline_api.names import INPUTS_CONFIG_MAP, INPUTS_KEY
from plumbline_api.reasons import Reason
from plumbline_api.runfile import Input
from plumbline_api.scalars import Digest
from plumbline_operator.observed import InputState, PlumblineObject, PlumblineStatus, Problem
from plumbline_operator.plan.inputs import NeededInput, needed_inputs
from plumbline_operator.references import resolved_inputs

__all__ = ["BadTable", "Table", "needs_table", "read_table", "resolve_inputs", "table_in", "with_table"]

Table = Mapping[str, str]
"""Digests by path, as the manifests write it."""

_TABLE: TypeAdapter[dict[str, Digest]] = TypeAdapter(dict[str, Digest])
_REMEDY = "run `plumbline push -f` with the manifests"


class BadTable(Exception):
    """There is a table that cannot be read."""


def needs_table(thing: PlumblineObject, status: PlumblineStatus) -> bool:
    """Whether an object names a file that its status has not recorded."""
    return bool(needed_inputs(thing).keys() - resolved_inputs(status).keys())


def read_table(config_map: Mapping[str, Any] | None, namespace: str) -> Table | Problem:
    """The table of a namespace, or why there is none."""
    where = f"ConfigMap {INPUTS_CONFIG_MAP} of namespace {namespace}"
    if config_map is None:
        return Problem(Reason.NOT_FOUND, f"{where} does not exist, so no file is known here; {_REMEDY}")
    text = (config_map.get("data") or {}).get(INPUTS_KEY)
    if text is None:
        return Problem(Reason.NOT_FOUND, f"{where} has no key {INPUTS_KEY}; {_REMEDY}")
    try:
        return _parse(text)
    except (yaml.YAMLError, ValidationError):
        fact = f"{where}, {INPUTS_KEY}, is not a mapping of paths to digests"
        return Problem(Reason.BAD_DATA, f"{fact}; correct it, or delete it and {_REMEDY}")


def table_in(config_map: Mapping[str, Any] | None, namespace: str) -> Table:
    """The table of a namespace, to be extended: empty where there is none yet.

    Raises:
        BadTable: It cannot be read, so extending it would lose what it holds.
    """
    text = ((config_map or {}).get("data") or {}).get(INPUTS_KEY)
    try:
        return {} if text is None else _parse(text)
    except (yaml.YAMLError, ValidationError) as error:
        where = f"ConfigMap {INPUTS_CONFIG_MAP} of namespace {namespace}, {INPUTS_KEY}"
        raise BadTable(f"{where}, is not a mapping of paths to digests; correct or delete it") from error


def with_table(config_map: Mapping[str, Any] | None, namespace: str, table: Table) -> Mapping[str, Any]:
    """The ConfigMap, new or as it was, with this table in it."""
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": INPUTS_CONFIG_MAP, "namespace": namespace},
    }
    known = config_map or made
    text = yaml.safe_dump(dict(table), allow_unicode=True, sort_keys=True)
    return {**known, "data": {**(known.get("data") or {}), INPUTS_KEY: text}}


def _parse(text: str) -> Table:
    found = yaml.safe_load(text)
    return _TABLE.validate_python({} if found is None else found)


def resolve_inputs(
    thing: PlumblineObject, status: PlumblineStatus, table: Table | Problem, store: str
) -> Mapping[str, InputState]:
    """Every input of an object; what its status has recorded is not looked up again."""
    known = resolved_inputs(status)
    return {
        name: InputState(resolved=known[name]) if name in known else _look_up(name, needed, table, store)
        for name, needed in needed_inputs(thing).items()
    }


def _look_up(name: str, needed: NeededInput, table: Table | Problem, store: str) -> InputState:
    if isinstance(table, Problem):
        return InputState(problem=table)
    digest = table.get(needed.source.path)
    if digest is None:
        fact = f"input {name} names the file {needed.source.path}, which ConfigMap {INPUTS_CONFIG_MAP} does not list"
        return InputState(problem=Problem(Reason.NOT_FOUND, f"{fact}; {_REMEDY}"))
    return InputState(resolved=Input(uri=store, digest=digest))
