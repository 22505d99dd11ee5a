"""YAML is read as Kubernetes reads it, within bounds, and every value keeps its line."""

import pytest

from plumbline_api.positions import MOST_CHARACTERS, Source, Trouble, format_path, read_documents


def read(text: str) -> Source:
    (source,) = read_documents(text)
    return source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("5e-7", 5e-7),
        ("12", 12),
        ("-3", -3),
        ("true", True),
        ("no", False),
        ("On", True),
        ("y", True),
        ("~", None),
        ("null", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
        ("12:30:00", "12:30:00"),
        ("0777", 777.0),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("9" * 400, "9" * 400),
        ("'no'", "no"),
        ('"0.1"', "0.1"),
        ("!!str 0.1", "0.1"),
        ("|\n    0.1\n", "0.1\n"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found = read(f"a: {text}\n").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_lines_of_keys_and_items() -> None:
    source = read("# c\na:\n  - b: 1\n    c:\n      2\n  -\n    d: {e: 3}\n")
    assert source.line == 2
    assert {format_path(path): line for path, line in source.lines.items()} == {
        "a": 2, "a[0]": 3, "a[0].b": 3, "a[0].c": 4, "a[1]": 7, "a[1].d": 7, "a[1].d.e": 7,
    }  # fmt: skip


def test_anchors_and_merges_are_expanded() -> None:
    source = read("base: &b {x: 1, w: 2}\nother:\n  <<: *b\n  w: 3\nlist: [*b, *b]\nboth: {<<: [{z: 1}, *b]}\n")
    assert source.data == {
        "base": {"x": 1, "w": 2},
        "other": {"w": 3, "x": 1},
        "list": [{"x": 1, "w": 2}] * 2,
        "both": {"z": 1, "x": 1, "w": 2},
    }
    assert source.lines["other", "x"] == 1


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (BOMB, 1, "more than 100000 values once aliases"),
        (MERGE_BOMB, 1, "more than 100000 values once aliases"),
        ("[" * 5000, 1, "nested more than 50 deep"),
        ("{a: " * 5000, 1, "nested more than 50 deep"),
        ("a: &a\n  - *a\n", 2, r"the alias \*a has no anchor"),
        ("a: *b\n", 1, r"the alias \*b has no anchor"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "the tag .* is not supported; leave it out"),
        ("a: !secret x\n", 1, "the tag !secret is not supported"),
        ("a: 1\nno: 2\n", 2, 'not text; write it in quotes: "no"'),
        ("a: 1\n? [b]\n: 2\n", 2, "a key must be text"),
        ("a: 1\n<<: 3\n", 2, "<< merges mappings only"),
        ("a: \x07", 1, "not YAML"),
        ("a: b: c\n", 1, "not YAML: mapping values are not allowed"),
        ("x" * (MOST_CHARACTERS + 1), 1, "are read; split it"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(Trouble, match=message) as caught:
        list(read_documents(text))
    assert caught.value.line == line


def test_documents_before_a_broken_one_are_read() -> None:
    documents = read_documents("a: 1\n---\nb: [\n")
    assert next(documents).data == {"a": 1}
    with pytest.raises(Trouble):
        next(documents)


def test_paths_that_are_no_words_stand_in_brackets() -> None:
    assert format_path(("data", "rules.yaml", "rules", 0)) == 'data["rules.yaml"].rules[0]'
