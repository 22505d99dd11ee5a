"""The ledger: what is in it counts, what is torn does not, what belongs to something else is set aside."""

from pathlib import Path

import pytest

from plumbline_api.report import Outcome
from plumbline_evaluator.errors import BadInput
from plumbline_evaluator.ledger import Binding, Ledger

BINDING = Binding("key", "cases", "model", "rules-1")


def fill(folder: Path, *cases: str) -> None:
    with Ledger(folder, BINDING) as ledger:
        for case in cases:
            ledger.record(case, Outcome.REFUSED, 2, ["no"])


def test_finished_cases_are_found_again(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    with Ledger(tmp_path, BINDING) as ledger:
        assert list(ledger.done) == ["a", "b"]
        assert (ledger.done["b"].outcome, ledger.done["b"].attempts) == (Outcome.REFUSED, 2)
        assert len(ledger.done["b"].answers) == 64


def test_a_torn_last_line_is_cut_off_and_written_anew(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    fill(tmp_path, "b", "c")
    with Ledger(tmp_path, BINDING) as ledger:
        assert list(ledger.done) == ["a", "b", "c"]


def test_a_ledger_torn_at_any_byte_is_readable(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with Ledger(tmp_path, BINDING) as ledger:
            assert list(ledger.done) == ["a", "b"][: max(0, whole[:length].count(b"\n") - 1)]


def test_a_ledger_of_another_execution_is_set_aside(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    with Ledger(tmp_path, Binding("key", "cases", "another model", "rules-1")) as ledger:
        assert not ledger.done
    assert (tmp_path / "results.jsonl.stale").exists()
    assert (tmp_path / "answers.jsonl.stale").exists()


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(BadInput, match=r"results\.jsonl:3: .*delete the file"), Ledger(tmp_path, BINDING):
        pass


def test_both_files_are_for_their_owner_only(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
