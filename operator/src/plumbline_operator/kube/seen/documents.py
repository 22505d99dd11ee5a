"""Objects of ours between the API server's JSON and the models: parsed leniently, written as the models dump. Pure.

Fields that these models do not know were written by or for a newer operator: they are passed over when read, so that an
older one can be brought back, and those of a status are written back as they were. A spec that a model refuses is an
answer to its author; a status that cannot be read is left alone, because to write over it would be to forget what has
been done.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import ValidationError

from plumbline_api.configmap import ConfigMap
from plumbline_api.meta import ObjectMeta
from plumbline_api.model import Document
from plumbline_api.names import Kind
from plumbline_operator.kube.api.resources import OURS
from plumbline_operator.observed import Key, PlumblineObject, PlumblineStatus
from plumbline_operator.references import OBJECT_TYPES, STATUS_TYPES

__all__ = [
    "SpecRefused", "StatusUnreadable", "owner_reference", "parse_config_map", "parse_object", "parse_status",
    "status_body",
]  # fmt: skip

Raw = Mapping[str, Any]

_MOST_LABELS: Final = 32
_LONGEST_ANNOTATION: Final = 4096


class SpecRefused(Exception):
    """A model refuses a spec that the API server took; the message names the first field and what is wrong with it."""


class StatusUnreadable(Exception):
    """A status was written by a newer operator; the message names the field."""


def parse_object(kind: Kind, raw: Raw) -> PlumblineObject:
    """The object; raises SpecRefused."""
    metadata = raw["metadata"]
    document = {
        "apiVersion": OURS[kind].api_version,
        "kind": kind.value,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata.get("namespace", "default"),
            "labels": dict(sorted((metadata.get("labels") or {}).items())[:_MOST_LABELS]),
            "annotations": {
                key: value[:_LONGEST_ANNOTATION] for key, value in (metadata.get("annotations") or {}).items()
            },
        },
        "spec": raw.get("spec") or {},
    }
    try:
        return OBJECT_TYPES[kind].model_validate_json(
            orjson.dumps(document), by_alias=True, by_name=False, extra="ignore"
        )
    except ValidationError as error:
        raise SpecRefused(_first(error)) from error


def parse_status(kind: Kind, raw: Raw) -> PlumblineStatus:
    """The status of an object, with the fields that nobody here knows; an empty one where it has none.

    Raises:
        StatusUnreadable: A newer operator gave a field that is known a value that is not.
    """
    try:
        return STATUS_TYPES[kind].model_validate_json(
            orjson.dumps(raw.get("status") or {}), by_alias=True, by_name=False, extra="allow"
        )
    except ValidationError as error:
        raise StatusUnreadable(_first(error)) from error


def parse_config_map(raw: Raw) -> ConfigMap:
    """A ConfigMap, as far as manifests of ours use one; raises SpecRefused."""
    metadata = raw["metadata"]
    try:
        return ConfigMap(
            metadata=ObjectMeta(name=metadata["name"], namespace=metadata.get("namespace", "default")),
            data=dict(raw.get("data") or {}),
        )
    except ValidationError as error:
        raise SpecRefused(_first(error)) from error


def status_body(key: Key, uid: str, version: str, status: PlumblineStatus) -> dict[str, Any]:
    """What replaces the status of exactly that state of exactly that object."""
    resource = OURS[key.kind]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid, "resourceVersion": version},
        "status": _dump_whole(status),
    }


def _dump_whole(document: Document) -> dict[str, Any]:
    """Plain data of a document, with the fields that its model does not know."""
    made = document.dump()
    _add_unknown(document, made)
    return made


def _add_unknown(document: Document, made: dict[str, Any]) -> None:
    for name, value in vars(document).items():
        parts = value if isinstance(value, tuple) else (value,)
        if parts and isinstance(parts[0], Document):
            written = made[type(document).model_fields[name].alias or name]
            for part, data in zip(parts, written if isinstance(value, tuple) else (written,), strict=True):
                _add_unknown(part, data)
    made |= document.model_extra or {}


def owner_reference(key: Key, uid: str) -> dict[str, Any]:
    """What makes an object a child: it goes when its owner goes."""
    resource = OURS[key.kind]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": key.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _first(error: ValidationError) -> str:
    """Where and what, without the value itself, which may be anything."""
    found = error.errors(include_input=False, include_url=False, include_context=False)[0]
    path = ".".join(str(part) for part in found["loc"])
    return f"{path}: {found['msg']}" if path else str(found["msg"])
