"""A table of inputs as a manifest in a file, for `plumbline push --into`: what a git repository holds, and prints.

Such a file holds the ConfigMap of one namespace or of several, and nothing else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from plumbline_api.names import INPUTS_CONFIG_MAP, ExitCode
from plumbline_operator.cli.errors import CommandError
from plumbline_operator.cli.yamltext import write_yaml
from plumbline_operator.kube.seen.inputs import Table, table_in, with_table
from plumbline_operator.local.durable import write_whole

__all__ = ["TableFile", "manifests_of"]

_KEPT: Final = ("name", "namespace", "labels", "annotations")
"""Of the metadata. The rest is the API server's, where the file was made with `kubectl get -o yaml`."""


def manifests_of(tables: Mapping[str, Table]) -> str:
    """The ConfigMap of each namespace, as YAML."""
    return write_yaml([with_table(None, namespace, tables[namespace]) for namespace in sorted(tables)])


class TableFile:
    """One file; a missing one is an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def namespace(self) -> str:
        """Where objects are meant to go when nobody says otherwise."""
        return "default"

    def read(self, namespace: str) -> Table:
        """What a namespace knows; raises CommandError and BadTable."""
        return table_in(self._documents().get(namespace), namespace)

    def extend(self, namespace: str, entries: Table) -> Table:
        """Let a namespace know more; what it knew before."""
        documents = self._documents()
        there = documents.get(namespace)
        before = table_in(there, namespace)
        if there is None or not entries.items() <= before.items():
            documents[namespace] = with_table(there, namespace, {**before, **entries})
            text = write_yaml([documents[name] for name in sorted(documents)])
            try:
                write_whole(self._path, text)
            except OSError as error:
                raise self._error(error.strerror or "cannot be written", "choose another file") from error
        return before

    def _documents(self) -> dict[str, Mapping[str, Any]]:
        """The ConfigMaps by namespace."""
        try:
            documents = list(yaml.safe_load_all(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise self._error(f"cannot be read ({error})", "correct it, or name another file") from error
        return dict(self._cleaned(document) for document in documents if document is not None)

    def _cleaned(self, document: Any) -> tuple[str, Mapping[str, Any]]:
        metadata = document.get("metadata") if isinstance(document, dict) else None
        if (
            not isinstance(metadata, dict)
            or metadata.get("name") != INPUTS_CONFIG_MAP
            or document.get("kind") != "ConfigMap"
        ):
            fact = f"holds something else than ConfigMap {INPUTS_CONFIG_MAP}"
            raise self._error(fact, "name a file of its own")
        namespace = str(metadata.get("namespace", self.namespace))
        kept = {key: metadata[key] for key in _KEPT if key in metadata} | {"namespace": namespace}
        return namespace, {**document, "metadata": kept}

    def _error(self, fact: str, remedy: str) -> CommandError:
        return CommandError(f"--into {self._path}", fact, remedy, exit_code=ExitCode.BAD_SPEC)
