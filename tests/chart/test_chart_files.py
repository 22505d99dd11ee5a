"""What is written in the chart agrees: with the code, with its schema, with its page. Needs no Helm."""

import inspect
import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from plumbline_api import names
from plumbline_api.names import PLURALS, Image, Kind
from plumbline_api.reasons import Phase
from plumbline_operator.kube.chart import fill_page, values_table, written_files
from plumbline_operator.kube.controller import Controller
from plumbline_operator.kube.metrics import Metrics, Readings
from tests.chart.helm import CHART
from tests.support.checkout import ROOT

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
WRITTEN = written_files(CHART)
PASSED_ON = ("operator.resources.requests", "operator.resources.limits", "operator.affinity")
"""Values that go into a pod as they are."""


def template(*parts: str) -> str:
    return CHART.joinpath("templates", *parts).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_a_file_is_committed_as_it_would_be_written(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == WRITTEN[path], "run make generate and commit what it wrote"


def test_no_template_is_left_of_a_kind_that_is_gone() -> None:
    assert {path.stem.partition(".")[0] for path in (CHART / "templates/crds").iterdir()} == set(PLURALS.values())


def test_the_page_shows_every_value() -> None:
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    assert page == fill_page(page, VALUES), "run make generate and commit what it wrote"
    assert page.count("<!-- chart values -->") == 1


def test_every_value_is_explained() -> None:
    explained = tuple(re.findall(r"^\| `([^`]+)`", values_table(VALUES), re.MULTILINE))
    silent = [path for path in leaves(yaml.safe_load(VALUES)) if not path.startswith(explained)]
    # One image is as another.
    assert [path for path in silent if not path.startswith("images.")] == []


def test_values_and_their_schema_name_the_same_things() -> None:
    known = dict(properties(SCHEMA))
    assert [
        path for path in leaves(yaml.safe_load(VALUES)) if path not in known and not path.startswith(PASSED_ON)
    ] == []
    unset = {path for path in known if path not in set(branches(yaml.safe_load(VALUES)))}
    assert unset == {"operator.resources.claims"}


def test_the_schema_refuses_whatever_it_does_not_know() -> None:
    objects = {path: schema for path, schema in (("", SCHEMA), *properties(SCHEMA)) if schema.get("type") == "object"}
    assert len(objects) > 20
    assert {path for path, schema in objects.items() if schema.get("additionalProperties") is None} == {
        "global",
        *PASSED_ON,
    }
    assert all(schema.get("additionalProperties") is False for schema in objects.values() if "properties" in schema
               and schema is not objects["global"])  # fmt: skip


def test_the_chart_is_of_the_operators_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == version("plumbline-operator")


def test_every_image_of_the_operator_has_a_value() -> None:
    images = yaml.safe_load(VALUES)["images"]
    assert set(images) == {"operator", *Image}
    assert all(f'"{image}"' in template("operator", "pods.yaml") for image in Image)


def test_alerts_ask_for_metrics_that_there_are() -> None:
    exported = {
        sample
        for family in text_string_to_metric_families(_metrics_text())
        for sample in (family.name, f"{family.name}_total", f"{family.name}_bucket", f"{family.name}_count")
    }
    asked = set(re.findall(r"plumbline_[a-z_]+(?=\{)", template("monitoring", "prometheusrule.yaml")))
    assert len(asked) >= 6
    assert asked - exported == set()


def test_alerts_know_the_operators_words() -> None:
    rules = template("monitoring", "prometheusrule.yaml")

    def words(label: str) -> set[str]:
        return {word for found in re.findall(rf'{label}=~?"([^"]+)"', rules) for word in found.split("|")}

    assert words("phase") <= set(Phase)
    assert words("kind") <= set(Kind)
    controller = inspect.getsource(Controller)
    assert {word for word in words("result") if f'"{word}"' not in controller} == set()
    assert len(words("phase")) + len(words("kind")) + len(words("result")) >= 10


def _metrics_text() -> str:
    metrics = Metrics()
    metrics.observe(Readings)
    return metrics.text().decode()


def test_policies_speak_of_the_contracts_names() -> None:
    text = "".join(template("admission", f"{name}.yaml") for name in ("children", "statuses", "decisions"))
    assert set(re.findall(r"plumbline\.dev/[a-z-]+", text)) <= {
        names.LABEL_OWNER,
        names.LABEL_OWNER_KIND,
        names.APPROVE_ANNOTATION,
        names.OVERRIDE_ANNOTATION,
    }
    assert names.LABEL_MANAGED_BY in text
    for kind in Kind:
        assert f"{PLURALS[kind]}/status" in template("admission", "statuses.yaml")
        assert PLURALS[kind] in template("admission", "decisions.yaml")
        assert f'"{PLURALS[kind]}"' in template("rbac", "people.yaml")


def branches(value: Any, path: str = "") -> Iterator[str]:
    """Every path of a mapping."""
    for key, part in value.items() if isinstance(value, dict) else ():
        here = f"{path}.{key}".lstrip(".")
        yield here
        yield from branches(part, here)


def leaves(value: Any) -> Iterator[str]:
    """Paths that hold no further paths."""
    found = list(branches(value))
    return (path for path in found if not any(other.startswith(f"{path}.") for other in found))


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every property of a schema by path, references followed."""
    for key, part in schema.get("properties", {}).items():
        here = f"{path}.{key}".lstrip(".")
        target = part if "$ref" not in part else SCHEMA["definitions"][part["$ref"].rpartition("/")[2]]
        yield here, target
        yield from properties(target, here)
