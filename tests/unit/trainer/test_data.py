"""Data sets as files: what is refused, with which lines, and never with what they say."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from plumbline_trainer.data import read_dialogues, read_held_out, read_pairs, refuse_leaks
from plumbline_trainer.failures import BadData
from tests.support.tiny_stage import REFUSAL, dialogue_rows, pair_rows, write_jsonl

SECRET = "wolpertinger"


def folder(tmp_path: Path, rows: Iterable[object]) -> Path:
    write_jsonl(tmp_path / "set" / "rows.jsonl", rows)
    return tmp_path / "set"


def test_rows_are_read_in_order_with_their_places_and_copies_are_counted(tmp_path: Path) -> None:
    data = read_dialogues(folder(tmp_path, [*dialogue_rows(4), "", dialogue_rows(1)[0]]))
    assert [str(place) for place in data.places] == [f"rows.jsonl:{line}" for line in (1, 2, 3, 4, 6)]
    assert (len(data.rows), data.duplicates) == (5, 1)


def test_several_files_are_one_data_set(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", dialogue_rows(2))
    write_jsonl(tmp_path / "a.jsonl", dialogue_rows(2))
    assert [str(place) for place in read_dialogues(tmp_path).places] == [
        "a.jsonl:1",
        "a.jsonl:2",
        "b.jsonl:1",
        "b.jsonl:2",
    ]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ('{"messages": ' + SECRET, "not valid JSON"),
        (f'["{SECRET}"]', "not a JSON object"),
        ({"text": SECRET}, 'neither {"messages"} nor {"prompt", "completion"}'),
        ({"prompt": SECRET, "completion": ""}, "an empty answer"),
        ({"messages": [{"role": "user", "content": [SECRET]}]}, "a message that is not"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_never_quoted(tmp_path: Path, broken: object, told: str) -> None:
    with pytest.raises(BadData) as caught:
        read_dialogues(folder(tmp_path, [*dialogue_rows(2), broken]))
    assert "rows.jsonl:3" in str(caught.value)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_line_that_is_no_utf8_is_a_bad_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"prompt": "a", "completion": "\xff"}\n')
    with pytest.raises(BadData, match=r"rows\.jsonl:1: not valid JSON"):
        read_dialogues(tmp_path)


def test_every_kind_of_problem_is_told_at_once_with_a_few_of_its_lines(tmp_path: Path) -> None:
    ties = [{"prompt": "a", "chosen": "b", "rejected": "b"}] * 8
    with pytest.raises(BadData) as caught:
        read_pairs(folder(tmp_path, [*ties, "{"]))
    assert "rows.jsonl:5 and 3 more rows: chosen equal to rejected" in str(caught.value)
    assert "rows.jsonl:9: not valid JSON" in str(caught.value)


@pytest.mark.parametrize("rows", [[], ["", "  "]])
def test_a_data_set_without_rows_is_refused(tmp_path: Path, rows: list[str]) -> None:
    with pytest.raises(BadData, match="no rows"):
        read_dialogues(folder(tmp_path, rows))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n")
    with pytest.raises(BadData, match=r"rows\.csv is not a \.jsonl file"):
        read_dialogues(tmp_path)


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([pair("a", REFUSAL, "yes 1"), pair("b", REFUSAL, "yes 2")], "the same chosen answer"),
        ([pair("a", "yes 1", REFUSAL), pair("b", "yes 2", REFUSAL)], "the same rejected answer"),
        ([pair("a", "I cannot.", "yes 1"), pair("b", "I’m sorry, no.", "yes 2")], "every chosen answer is a refusal"),
        ([pair("a", "yes 1", "I cannot."), pair("b", "yes 2", "I won't.")], "every rejected answer is a refusal"),
        ([pair("a", "yes", "no")], "the same chosen answer"),
    ],
)
def test_pairs_that_all_point_the_same_way_are_refused(tmp_path: Path, rows: list[dict[str, str]], told: str) -> None:
    with pytest.raises(BadData, match=rf"one-sided: .*{told}"):
        read_pairs(folder(tmp_path, rows))


def test_pairs_of_two_kinds_and_pairs_without_refusals_are_accepted(tmp_path: Path) -> None:
    assert len(read_pairs(folder(tmp_path, pair_rows(8))).rows) == 8
    assert len(read_pairs(folder(tmp_path, [pair("a", "good 1", "bad 1"), pair("b", "good 2", "bad 2")])).rows) == 2


def test_a_prompt_of_the_held_out_set_is_refused_however_it_is_written(tmp_path: Path) -> None:
    held_out = write_jsonl(tmp_path / "held" / "out.jsonl", [{"prompt": "Track  my\tPARCEL 1"}, {"prompt": "unseen"}])
    data = read_dialogues(folder(tmp_path, dialogue_rows(4)))
    with pytest.raises(BadData) as caught:
        refuse_leaks(data, read_held_out(held_out.parent))
    assert "rows.jsonl:2: prompts of the held-out evaluation set" in str(caught.value)
    assert "parcel" not in str(caught.value).lower()


def test_a_held_out_conversation_leaks_as_a_whole_and_not_by_its_opening(tmp_path: Path) -> None:
    def talk(*turns: str) -> list[dict[str, str]]:
        return [message for turn in turns for message in ({"role": "user", "content": turn}, answer)][:-1]

    answer = {"role": "assistant", "content": "go on"}
    write_jsonl(tmp_path / "held" / "out.jsonl", [{"prompt": talk("hello", "now do it")}])
    held_out = read_held_out(tmp_path / "held")
    refuse_leaks(read_dialogues(folder(tmp_path, [{"prompt": talk("hello", "thanks"), "completion": "ok"}])), held_out)
    leaking = [{"prompt": talk("first", "Hello", "Now do it"), "completion": "ok"}]
    with pytest.raises(BadData, match=r"rows\.jsonl:1"):
        refuse_leaks(read_dialogues(folder(tmp_path, leaking)), held_out)


def test_a_held_out_set_of_messages_is_read_and_one_without_prompts_is_refused(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "Ｈello"}]
    assert read_held_out(folder(tmp_path, [{"prompt": messages}])) == {("hello",)}
    with pytest.raises(BadData, match=r"rows\.jsonl:1"):
        read_held_out(folder(tmp_path, [{"text": "x"}]))
