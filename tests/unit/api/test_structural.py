"""Models as structural schemas: what a CRD cannot say is refused, and what only a rule can say becomes one."""

from typing import Annotated

import pytest
from pydantic import Field

from plumbline_api.immutable import Immutable, Mutable
from plumbline_api.model import Document
from plumbline_api.scalars import Name
from plumbline_api.structural import NotStructural, structural_schema
from tests.support.crd_lint import rules_on


class Nested(Document):
    """Holds itself."""

    inner: "Nested | None" = None
    """The same again."""


class Unbounded(Document):
    """Holds a text of any length."""

    text: str
    """Any text."""


class Fraction(Document):
    """Holds a fraction."""

    share: float = 0.5
    """Any share."""


class Either(Document):
    """Holds one of two types."""

    value: int | bool = 0
    """Either."""


class Listing(Document):
    """Holds a list of any length."""

    names: tuple[Name, ...] = ()
    """Any names."""


class Mapping(Document):
    """Holds a map of any size."""

    names: dict[str, Name]
    """Any names."""


@pytest.mark.parametrize(
    ("model", "fact"),
    [
        (Nested, r"here.inner.inner: Nested holds itself|here.inner: Nested holds itself"),
        (Unbounded, "here.text: has no maxLength"),
        (Fraction, "here.share: a CRD of ours has no type number"),
        (Either, "here.value: a CRD cannot say anyOf"),
        (Listing, "here.names: has no maxItems"),
        (Mapping, "here.names: has no maxProperties"),
    ],
)
def test_what_a_crd_cannot_say_is_refused_with_its_place(model: type[Document], fact: str) -> None:
    with pytest.raises(NotStructural, match=fact):
        structural_schema(model, "here")


class Selecting(Immutable):
    """A spec of which one field may change."""

    selector: Annotated[dict[Name, Name], Field(max_length=8)] = Field(default_factory=dict)
    """Labels of nodes."""
    owner: Name | None = None
    """Nobody, or somebody for good."""
    paused: Annotated[bool, Mutable()] = False
    """Whether to wait."""


def test_keys_of_a_map_and_fields_that_may_change_reach_the_schema() -> None:
    schema = structural_schema(Selecting, "spec")
    fields = schema["properties"]
    assert fields["selector"]["additionalProperties"]["maxLength"] == 40
    assert [rule["rule"] for rule in rules_on(fields["selector"])] == [
        "self == oldSelf",
        "self.all(key, key.size() <= 40 && key.size() >= 1 && key.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
    ]
    assert [rule["rule"] for rule in rules_on(fields["owner"])] == ["self == oldSelf"]
    assert [rule["rule"] for rule in rules_on(schema)] == ["has(self.owner) == has(oldSelf.owner)"]
    assert rules_on(fields["paused"]) == []
