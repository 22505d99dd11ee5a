"""Schemas of Kubernetes' own kinds, release by release, out of the package kubernetes-validate.

Its own `validate` reads 3 MB of definitions for every object; here they are read once for a release.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

__all__ = ["complaints"]

Object = dict[str, Any]


def complaints(thing: Object, release: str) -> Iterator[str]:
    """What a release of Kubernetes would not take of a manifest; unknown fields among it."""
    group, _, version = thing["apiVersion"].rpartition("/")
    place = "-".join(filter(None, [thing["kind"].lower(), group.partition(".")[0], version]))
    for error in _validator(release, place).iter_errors(thing):
        yield f"{thing['kind']} {thing['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"


@cache
def _validator(release: str, place: str) -> Any:
    return Draft202012Validator(_read(release, place), registry=_registry(release))


@cache
def _registry(release: str) -> Any:
    return Resource.from_contents(_read(release, "_definitions")) @ Registry()


def _read(release: str, place: str) -> Any:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{release}-local-strict"
    return json.loads((folder / f"{place}.json").read_text(encoding="utf-8"))
