"""One run of one stage on the real node, and what becomes of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from plumbline_api.names import LABEL_PURPOSE, Purpose
from tests.cluster.client import Object
from tests.e2e.installation import Installation
from tests.e2e.patience import until
from tests.support.small_assistant import write_small_run

__all__ = ["Run", "pod_ended", "start_run"]

MET = "checkpoint at step 60 "
"""In the log of a run that is met at work; each twentieth step leaves a checkpoint."""
BEGINNINGS = ("process(es) with", "steps begins")
"""In the log of a stage: its inputs are there, and it goes on to import torch; all is loaded."""
PATIENCE = 240.0
"""Seconds, of which a busy machine may need a lot; nothing here should take a quarter of them."""


@dataclass(frozen=True)
class Run:
    """An AlignmentRun of a team."""

    team: Installation
    name: str

    def until(self, look: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Wait for something about it.

        Raises:
            AssertionError: It did not come to that; says what went on.
        """
        until(look, f"{self.name} {what}", seconds, self.team.describe)

    def until_training(self) -> None:
        """Wait until it has written checkpoints, of which the first are in the store by then."""
        log = ("logs", f"--selector=plumbline.dev/owner={self.name}", "--container=worker", "--tail=-1")
        self.until(lambda: MET in self.team.kubectl(*log, check=False), "trains")

    def until_told(self, reason: str) -> str:
        """What an event says of the run or of its stage, once there is one with this reason."""
        self.until(lambda: reason in self.told(), f"tells of {reason}")
        return self.told()[reason]

    def told(self) -> dict[str, str]:
        """The newest message of each reason, of all events that the operator wrote about it."""
        chosen = f"--field-selector=involvedObject.kind=AlignmentRun,involvedObject.name={self.name}"
        events = json.loads(self.team.kubectl("get", "events", chosen, "--output=json"))["items"]
        return {event["reason"]: event["message"] for event in events}

    def says(self) -> str:
        """Reason and message of its stage now."""
        return self._get("alr", "{.status.stages[0].reason}: {.status.stages[0].message}")

    def until_says(self, reason: str) -> str:
        """What its stage says, once for this reason."""
        self.until(lambda: self.says().startswith(f"{reason}: "), f"says {reason}")
        return self.says()

    def until_failed(self, seconds: float = PATIENCE) -> str:
        """Reason and message of its end, which is no good one."""
        self._ends("False", seconds)
        return self.says()

    def until_succeeded(self, seconds: float = PATIENCE) -> Object:
        """Its Job, of which there is one and no other, after a good end."""
        self._ends("True", seconds)
        (job,) = self.jobs()
        return job

    def jobs(self) -> list[Object]:
        """Its Jobs."""
        return self._items("jobs")

    def pods(self) -> list[Object]:
        """Its pods, oldest first."""
        return sorted(self._items("pods"), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def log(self) -> str:
        """What its newest pod wrote."""
        return self.team.kubectl("logs", self.pods()[-1]["metadata"]["name"], "--container=worker")

    def beginnings(self) -> list[str]:
        """Of each pod that trained, how long each part of its beginning took."""
        trained = [pod for pod in self.pods() if pod["metadata"]["labels"].get(LABEL_PURPOSE) == Purpose.STAGE]
        return [_beginning(pod, self._stamped(pod)) for pod in trained]

    def _stamped(self, pod: Object) -> list[tuple[datetime, str]]:
        """The lines of a pod's log, each with when it came."""
        name = pod["metadata"]["name"]
        lines = self.team.kubectl("logs", name, "--container=worker", "--timestamps").splitlines()
        return [(datetime.fromisoformat(stamp), text) for stamp, _, text in (line.partition(" ") for line in lines)]

    def retry(self) -> None:
        """As docs/install.md tells people to do it."""
        self.team.kubectl("annotate", f"alr/{self.name}", "plumbline.dev/retry=again")

    def delete(self) -> None:
        """Remove it, and wait until it is gone."""
        self.team.kubectl("delete", f"alr/{self.name}", "--timeout=60s")

    def _ends(self, succeeded: str, seconds: float) -> None:
        condition = '{.status.conditions[?(@.type=="Succeeded")].status}'
        self.until(lambda: self._get("alr", condition) in ("True", "False"), "ends", seconds)
        assert self._get("alr", condition) == succeeded, self.team.describe()

    def _get(self, kind: str, path: str) -> str:
        return self.team.kubectl("get", f"{kind}/{self.name}", f"--output=jsonpath={path}", check=False)

    def _items(self, kind: str) -> list[Object]:
        chosen = f"--selector=plumbline.dev/owner={self.name}"
        return list(json.loads(self.team.kubectl("get", kind, chosen, "--output=json"))["items"])


def _beginning(pod: Object, lines: list[tuple[datetime, str]]) -> str:
    """From a pod's place on the node to its first step. The imports and the model are the trainer's own time."""
    placed = next(one for one in pod["status"]["conditions"] if one["type"] == "PodScheduled")["lastTransitionTime"]
    moments = [datetime.fromisoformat(placed)]
    moments += [next(moment for moment, line in lines if mark in line) for mark in BEGINNINGS]
    parts = [(after - before).total_seconds() for before, after in pairwise(moments)]
    named = zip(("the program and its inputs", "imports and model"), parts, strict=True)
    return f"{pod['metadata']['name']}: {', '.join(f'{what} {seconds:.1f} s' for what, seconds in named)}"


def start_run(team: Installation, folder: Path, name: str, steps: int = 300, **compute: object) -> Run:
    """Push what a run needs, and apply it."""
    write_small_run(folder, name, steps, **compute)
    team.push(folder)
    team.kubectl("apply", "-f", str(folder))
    return Run(team, name)


def pod_ended(team: Installation, pod: str) -> bool:
    """Whether a pod of the team has done its work."""
    return team.kubectl("get", "pod", pod, "--output=jsonpath={.status.phase}") == "Succeeded"
