"""One evaluation from orders to summary, against a real server in this process."""

from pathlib import Path
from typing import Any

import pytest

from plumbline_api.metrics import MetricName, unpack_outcomes
from plumbline_api.model import canonical_json
from plumbline_api.names import SUMMARY_LIMIT_BYTES
from plumbline_api.progress import Progress
from plumbline_api.report import Outcome, Report, Result, Summary
from plumbline_evaluator.errors import BadOrders, NotPermitted, Unavailable, WrongSubject
from plumbline_evaluator.execution import execute
from plumbline_store import FileReporter, open_store
from tests.support.evaluations import run_file, suite, surroundings
from tests.support.target_server import DIGEST, Messages, TargetServer, comply, refuse


def rate(summary: Summary, metric: MetricName, **labels: str) -> tuple[int, int]:
    row = next(row for row in summary.rows if row.metric is metric and row.labels == labels)
    return row.numerator, row.denominator


def full_report(store: Path, summary: Summary) -> Report:
    assert summary.report is not None
    return Report.read(open_store(store.as_uri()).read_file(summary.report.digest, "report.json"))


async def test_a_subject_that_does_everything_complies_in_all_cases(tmp_path: Path) -> None:
    async with TargetServer(reply=comply) as target:
        summary = await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
    assert summary.result is Result.SUCCEEDED
    assert rate(summary, MetricName.HARMFUL_COMPLIANCE_RATE) == (12, 12)
    assert rate(summary, MetricName.LEGITIMATE_COMPLETION_RATE) == (12, 12)
    assert rate(summary, MetricName.FALSE_REFUSAL_RATE) == (0, 12)


async def test_a_subject_that_refuses_everything_fails_its_benign_twins(tmp_path: Path) -> None:
    async with TargetServer(reply=refuse) as target:
        summary = await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
    assert rate(summary, MetricName.HARMFUL_REFUSAL_RATE) == (12, 12)
    assert rate(summary, MetricName.FALSE_REFUSAL_RATE, split="unseen_actions") == (6, 6)
    assert sum(sum(unpack_outcomes(found[MetricName.FALSE_REFUSAL_RATE])) for found in summary.outcomes.values()) == 12


async def test_the_report_is_published_with_its_parent_and_holds_no_word_of_a_case(tmp_path: Path) -> None:
    store, work = tmp_path / "store", tmp_path / "work"
    async with TargetServer(reply=comply) as target:
        summary = await execute(run_file(store), surroundings(work, target.url))
    assert summary.report is not None
    (parent,) = open_store(store.as_uri()).manifest(summary.report.digest).parents
    assert (parent.role, parent.digest) == ("model", DIGEST)
    text = full_report(store, summary).pretty()
    assert not any(body["messages"][-1]["content"] in text for body in target.asked)
    assert "Task created" not in text
    assert (work / "answers.jsonl").stat().st_mode & 0o777 == 0o600


async def test_an_unchanged_evaluation_is_recalled_without_asking_anything(tmp_path: Path) -> None:
    store = tmp_path / "store"
    async with TargetServer() as target:
        first = await execute(run_file(store), surroundings(tmp_path / "one", target.url))
        asked = len(target.asked)
        second = await execute(run_file(store), surroundings(tmp_path / "two", target.url))
        assert len(target.asked) == asked
        assert second == first.model_copy(update={"cached": True})
        await execute(run_file(store, reuse="Never"), surroundings(tmp_path / "three", target.url))
        assert len(target.asked) == 2 * asked


async def test_failed_requests_are_repeated_and_counted(tmp_path: Path) -> None:
    async with TargetServer(failures=5, status=429, headers={"Retry-After": "0"}) as target:
        spec = suite(generation={"retries": 6})
        summary = await execute(run_file(tmp_path / "store", spec), surroundings(tmp_path / "work", target.url))
    assert summary.coverage is not None
    assert (summary.coverage.judged, summary.coverage.errors, summary.coverage.retries) == (24, 0, 5)
    attempts = [result.attempts for result in full_report(tmp_path / "store", summary).results]
    assert sum(attempts) == 24 + 5


async def test_a_case_that_keeps_failing_is_an_error_and_in_no_rate(tmp_path: Path) -> None:
    unlucky: list[str] = []

    def reply(messages: Messages) -> str | int:
        text = messages[-1]["content"]
        if not unlucky:
            unlucky.append(text)
        return 500 if text == unlucky[0] else refuse(messages)

    async with TargetServer(reply=reply) as target:
        summary = await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
        assert summary.coverage is not None
        assert (summary.coverage.asked, summary.coverage.judged, summary.coverage.errors) == (24, 23, 1)
        assert "1 brought no answer" in summary.message
        _, harmful = rate(summary, MetricName.HARMFUL_REFUSAL_RATE)
        _, benign = rate(summary, MetricName.FALSE_REFUSAL_RATE)
        assert harmful + benign == 23
        report = full_report(tmp_path / "store", summary)
        assert [result.outcome for result in report.results].count(Outcome.ERROR) == 1
        target.reply = refuse
        asked = len(target.asked)
        again = await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
        assert len(target.asked) == asked + 1, "an incomplete result is not reused; only the failed case is asked again"
        assert again.coverage is not None
        assert again.coverage.errors == 0


async def test_a_refused_request_is_not_repeated(tmp_path: Path) -> None:
    async with TargetServer(failures=1, status=400) as target:
        summary = await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
    assert summary.coverage is not None
    assert (summary.coverage.errors, summary.coverage.retries) == (1, 0)


async def test_another_model_than_the_one_named_is_not_judged(tmp_path: Path) -> None:
    async with TargetServer(digest="sha256:" + "9" * 64) as target:
        with pytest.raises(WrongSubject, match=f"names {DIGEST}"):
            await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
        assert not target.asked


async def test_an_engine_that_knows_no_digests_serves_the_model_under_its_digest(tmp_path: Path) -> None:
    async with TargetServer(listed=({"id": DIGEST},)) as target:
        await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
        assert {asked["model"] for asked in target.asked} == {DIGEST}


@pytest.mark.parametrize("listed", [{"id": "model"}, {"id": DIGEST, "digest": None}], ids=["a name", "no digest"])
async def test_any_other_name_is_no_digest(tmp_path: Path, listed: dict[str, Any]) -> None:
    async with TargetServer(listed=(listed,)) as target:
        with pytest.raises(WrongSubject):
            await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
        assert not target.asked


async def test_a_model_exchanged_during_the_run_is_noticed(tmp_path: Path) -> None:
    async with TargetServer() as target:

        def exchange(messages: Messages) -> str:
            target.digest = "sha256:" + "9" * 64
            return refuse(messages)

        target.reply = exchange
        with pytest.raises(WrongSubject):
            await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))


async def test_a_target_that_never_comes_up_is_unavailable(tmp_path: Path) -> None:
    around = surroundings(tmp_path / "work", "http://127.0.0.1:9/v1", wait=0.0)
    with pytest.raises(Unavailable, match="the connection failed"):
        await execute(run_file(tmp_path / "store"), around)


async def test_a_target_that_goes_away_ends_the_run_early(tmp_path: Path) -> None:
    spec = suite(samples={"minPerCategory": 60}, generation={"retries": 0})
    async with TargetServer(reply=lambda _: 502) as target:
        with pytest.raises(Unavailable, match="16 cases in a row failed"):
            await execute(run_file(tmp_path / "store", spec), surroundings(tmp_path / "work", target.url))
        assert len(target.asked) < 30


async def test_a_target_that_does_not_let_us_in_ends_the_run(tmp_path: Path) -> None:
    async with TargetServer(reply=lambda _: 401) as target:
        with pytest.raises(NotPermitted):
            await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))


async def test_orders_for_another_program_are_refused(tmp_path: Path) -> None:
    orders = run_file(tmp_path).model_copy(update={"inputs": {}})
    with pytest.raises(BadOrders, match="model"):
        await execute(orders, surroundings(tmp_path, "http://127.0.0.1:9/v1"))


async def test_more_cases_than_allowed_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    spec = suite(samples={"minPerCategory": 60, "max": 10})
    with pytest.raises(BadOrders, match=r"samples\.max"):
        await execute(run_file(tmp_path, spec), surroundings(tmp_path, "http://127.0.0.1:9/v1"))


async def test_no_more_conversations_are_held_at_once_than_allowed(tmp_path: Path) -> None:
    async with TargetServer(delay=0.02) as target:
        spec = suite(generation={"concurrency": 3})
        await execute(run_file(tmp_path / "store", spec), surroundings(tmp_path / "work", target.url))
    assert target.most_at_once == 3


async def test_turns_are_sent_one_by_one_with_the_real_answers_between(tmp_path: Path) -> None:
    spec = suite(attacks=[{"contextManipulation": {"turns": 3}}], systemPrompt="You manage tasks.")
    async with TargetServer(reply=lambda messages: f"answer {len(messages)}") as target:
        await execute(run_file(tmp_path / "store", spec), surroundings(tmp_path / "work", target.url))
    last = [body["messages"] for body in target.asked if len(body["messages"]) == 6]
    assert len(last) == 24
    for messages in last:
        assert [message["role"] for message in messages] == ["system"] + ["user", "assistant"] * 2 + ["user"]
        assert [message["content"] for message in messages if message["role"] == "assistant"] == [
            "answer 2",
            "answer 4",
        ]


@pytest.mark.parametrize("nothing", ["", None, "   "])
async def test_an_empty_answer_is_neither_compliance_nor_refusal(tmp_path: Path, nothing: str | None) -> None:
    async with TargetServer(reply=lambda _: nothing) as target:
        summary = await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
    assert rate(summary, MetricName.HARMFUL_COMPLIANCE_RATE) == (0, 12)
    assert rate(summary, MetricName.HARMFUL_REFUSAL_RATE) == (0, 12)
    assert rate(summary, MetricName.FALSE_REFUSAL_RATE) == (0, 12)
    assert rate(summary, MetricName.LEGITIMATE_COMPLETION_RATE) == (0, 12)


async def test_progress_tells_rates_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    async with TargetServer() as target:
        await execute(
            run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url, progress=FileReporter(path))
        )
    last = Progress.read(path.read_text().splitlines()[-1])
    assert last.progress_percentage == 100
    assert (last.number("step"), last.number("maxSteps")) == (24, 24)
    assert (last.number("harmful_compliance_rate"), last.number("false_refusal_rate")) == (0.0, 1.0)


async def test_the_summary_says_how_good_the_judge_is(tmp_path: Path) -> None:
    async with TargetServer() as target:
        summary = await execute(run_file(tmp_path / "store"), surroundings(tmp_path / "work", target.url))
    assert summary.judges[0].labelled_set == "held-out"
    assert len(canonical_json(summary)) <= SUMMARY_LIMIT_BYTES
