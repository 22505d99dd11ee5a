"""YAML as `plumbline get -o yaml` prints it: what was a string reads back as a string in YAML 1.1 and 1.2 alike."""

import re
from collections.abc import Sequence

import yaml

__all__ = ["write_yaml"]

_NUMBER_LIKE = re.compile(r"[-+.\d][\d_.,:eE+-]*|0[xob][0-9a-fA-F]+")


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes strings which some YAML reader would take for a number, such as 1e-3."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else '"' if _NUMBER_LIKE.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def write_yaml(documents: Sequence[object]) -> str:
    """Documents as one YAML text, keys in their order."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
