"""The folders that stand for a pod's volumes. Called by `jobs` and `deployments` before each attempt."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plumbline_api.names import MOUNT_WORK, SIGNING_KEY_FILE
from plumbline_api.reasons import Reason
from plumbline_operator.local.errors import in_plain_words
from plumbline_operator.local.offered import Unplannable
from plumbline_operator.observed import Problem

__all__ = ["WORK_VOLUME", "Texts", "make_volumes"]

WORK_VOLUME = Path(MOUNT_WORK).name
"""The emptyDir of this name holds checkpoints: all attempts of a Job share it."""

Texts = Callable[[str], Mapping[str, str] | None]
"""Looks up the data of a ConfigMap by name, in the pod's namespace."""


def make_volumes(
    spec: Mapping[str, Any], *, work: Path, attempt: Path, texts: Texts, signing_key: Path | None = None
) -> dict[str, Path]:
    """Make the folder of every volume, with the files of ConfigMaps in it; raises Unplannable.

    Args:
        spec: The pod's.
        work: The folder of its work.
        attempt: The folder of everything else.
        texts: Looks up ConfigMaps.
        signing_key: The file that stands for a Secret to sign with; no copy of it is made.
    """
    made = {}
    for volume in spec.get("volumes", ()):
        name = volume["name"]
        folder = work if "emptyDir" in volume and name == WORK_VOLUME else attempt / "volumes" / name
        with in_plain_words(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if "secret" in volume:
                _link_key(folder, volume["secret"]["secretName"], signing_key)
            else:
                _fill(folder, volume, texts)
        made[name] = folder
    return made


def _link_key(folder: Path, secret: str, key: Path | None) -> None:
    if key is None:
        message = f"Secret {secret} is not known on this machine; name the file with the signing key: --sign-with FILE"
        raise Unplannable(Problem(Reason.SECRET_MISSING, message))
    (folder / SIGNING_KEY_FILE).symlink_to(key)


def _fill(folder: Path, volume: Mapping[str, Any], texts: Texts) -> None:
    if "emptyDir" in volume:
        return
    source = volume.get("configMap")
    if source is None:
        kinds = ", ".join(key for key in volume if key != "name")
        message = f"volume {volume['name']} is of kind {kinds}, which local mode does not offer; run it on a cluster"
        raise Unplannable(Problem(Reason.UNSUPPORTED_BY_RUNTIME, message))
    data = texts(source["name"])
    if data is None:
        message = f"volume {volume['name']} needs ConfigMap {source['name']}, which does not exist; apply it first"
        raise Unplannable(Problem(Reason.NOT_FOUND, message))
    for key, text in data.items():
        if "/" in key or key in (".", ".."):
            raise Unplannable(Problem(Reason.BAD_SPEC, f"ConfigMap {source['name']}: {key!r} is not a file name"))
        (folder / key).write_text(text, encoding="utf-8")
