"""The object store goes away while a result is brought there: the run ends with its reason, and a retry succeeds."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.installation import Installation
from tests.e2e.runs import start_run
from tests.support.objectstore import Asked, ObjectStore, Refusal, no_fault

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("installation", ["bucket"], indirect=True),
]

FEW = 10
"""Steps, fewer than would leave a checkpoint: the first that is written is the result."""
LONG = 300
"""Steps of a run that is to be met at work."""


def test_a_store_that_goes_down_in_mid_upload_ends_the_run_and_a_retry_succeeds(
    team: Installation, object_store: ObjectStore, tmp_path: Path, strike: Callable[[], None]
) -> None:
    gone = threading.Event()

    def go_down(asked: Asked) -> Refusal | None:
        """The first upload gets half an answer, and nobody any more after it."""
        if asked.method not in ("PUT", "POST"):
            return None
        gone.set()
        threading.Thread(target=object_store.stop).start()
        return Refusal()

    run = start_run(team, tmp_path, "cut-off", FEW)
    object_store.fault = go_down
    try:
        run.until(gone.is_set, "begins to publish")
        strike()
        said = run.until_failed()
    finally:
        object_store.fault = no_fault
        object_store.start()
    assert said.startswith("DependencyUnavailable: ")
    assert "the object store cannot be reached" in said
    assert "check AWS_ENDPOINT_URL_S3, that the server is up, and that network policies let it be reached" in said
    run.retry()
    run.until(lambda: run.says().startswith("Succeeded"), "succeeds")


def test_a_store_that_is_away_for_a_moment_costs_a_try_and_no_step_that_was_kept(
    team: Installation, object_store: ObjectStore, tmp_path: Path
) -> None:
    run = start_run(team, tmp_path, "interrupted", LONG)
    run.until_training()
    object_store.stop()
    run.until(lambda: [pod for pod in run.pods() if pod["status"]["phase"] == "Failed"], "fails once")
    object_store.start()
    job = run.until_succeeded()
    assert (job["status"]["succeeded"], job["status"]["failed"]) == (1, 1)
    assert "resuming at step" in run.log()
