"""Files of the Helm chart that come from the code: templates of CRDs, rules of the operator's roles, a table of values.

`python -m plumbline_operator.kube.chart charts/plumbline docs/install.md` writes them; they are committed, and a test
compares. Nothing here runs in a cluster.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from plumbline_api.crd import crd_text, filename_of
from plumbline_api.names import Kind
from plumbline_operator.kube.permissions import (
    NEEDED,
    NEEDED_FOR_JOB_SETS,
    NEEDED_FOR_LEASE,
    NEEDED_FOR_REVIEWS,
    Permission,
    needed_for_authority,
)

__all__ = ["crd_template", "fill_page", "rules_text", "values_table", "written_files"]

_HEADER: Final = "# Written by `make generate` from {source}. Change that, not this file.\n"
_AUTHORITY: Final = "AUTHORITY"
"""Stands for the name of the Secret with the operator's own authority; the template puts that in its place."""
_TABLE: Final = re.compile(r"(<!-- chart values -->\n).*?(<!-- end -->)", re.DOTALL)


def written_files(chart: Path) -> Mapping[Path, str]:
    """Every file of the chart that is written, with its text."""
    crds = {chart / "templates/crds" / filename_of(kind): crd_template(kind) for kind in Kind}
    return {**crds, chart / "files/rules.yaml": rules_text()}


def crd_template(kind: Kind) -> str:
    """The CRD of a kind as a template: behind the switch, and kept when the release goes.

    The text is taken as it is: through Helm's own functions its long integers would become floats.
    """
    header, _, body = crd_text(kind).partition("\n")
    if "{{" in body:
        raise ValueError(f"{filename_of(kind)} holds what Helm takes for a template")
    before, line, after = body.partition(f"\n  name: {filename_of(kind).removesuffix('.yaml')}\n")
    keep = "  annotations:\n    helm.sh/resource-policy: keep\n"
    labels = '  labels:\n    {{- include "plumbline.labels" . | nindent 4 }}\n'
    return f"{header}\n{{{{- if .Values.crds.install }}}}\n{before}{line}{keep}{labels}{after}{{{{- end }}}}\n"


# Roles


def rules_text() -> str:
    """The rules of the operator's roles, for `.Files.Get`."""
    tables = {
        "watched": NEEDED,
        "jobSets": NEEDED_FOR_JOB_SETS,
        "lease": NEEDED_FOR_LEASE,
        "authority": needed_for_authority(_AUTHORITY),
        "reviews": NEEDED_FOR_REVIEWS,
    }
    rules = {name: _rules(table) for name, table in tables.items()}
    header = _HEADER.format(source="operator/src/plumbline_operator/kube/permissions.py")
    return header + yaml.safe_dump(rules, sort_keys=False)


def _rules(needed: Iterable[Permission]) -> list[dict[str, list[str]]]:
    """One rule for each set of verbs of an API group, and of an object where it is for one alone."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for permission in needed:
        verbs.setdefault((permission.group, permission.name, permission.resource), []).append(permission.verb)
    resources: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, name, resource), found in verbs.items():
        resources.setdefault((group, name, tuple(found)), []).append(resource)
    return [
        {"apiGroups": [group], "resources": found, "verbs": list(allowed)} | ({"resourceNames": [name]} if name else {})
        for (group, name, allowed), found in resources.items()
    ]


# Values


def fill_page(page: str, values: str) -> str:
    """A page of the documentation with the table of values in its place."""
    return _TABLE.sub(lambda found: found[1] + values_table(values) + found[2], page)


def values_table(values: str) -> str:
    """A Markdown table of all values: path, default, and the comment above it."""
    found = list(_entries(yaml.compose(values, yaml.SafeLoader), values.splitlines()))
    explained = {path for path, _, comment in found if comment}
    rows = [
        f"| `{path}` | `{_shown(node)}` | {comment} |\n"
        for path, node, comment in found
        # What holds further explained values is explained by these.
        if comment and not any(other.startswith(f"{path}.") for other in explained)
    ]
    return "| Value | Default | Meaning |\n|---|---|---|\n" + "".join(rows)


def _entries(node: yaml.Node | None, lines: list[str], path: str = "") -> Iterator[tuple[str, yaml.Node, str]]:
    """Every entry of a mapping with its path and comment, and then those within it."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = f"{path}.{key.value}".lstrip(".")
        yield here, value, _comment(lines, key.start_mark.line)
        yield from _entries(value, lines, here)


def _comment(lines: list[str], line: int) -> str:
    """The words of the comment right above a line."""
    words: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        words.insert(0, lines[line].lstrip().lstrip("#").strip())
    return " ".join(words).replace("|", "\\|")


def _shown(node: yaml.Node) -> str:
    class Loader(yaml.SafeLoader):
        """For values alone."""

    loader = Loader("")
    value: Any = loader.construct_object(node, deep=True)
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def main(chart: str, page: str) -> None:
    """Write everything."""
    for path, text in written_files(Path(chart)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    values = Path(chart, "values.yaml").read_text(encoding="utf-8")
    Path(page).write_text(fill_page(Path(page).read_text(encoding="utf-8"), values), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
