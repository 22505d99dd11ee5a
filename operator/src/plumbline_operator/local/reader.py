"""What can be read from a state directory while another plumbline works on it. Called by the CLI, and by `session`."""

from dataclasses import dataclass
from pathlib import Path

from plumbline_operator.local.attempts import Attempt, attempts_in
from plumbline_operator.local.deployments import read_deployments
from plumbline_operator.local.errors import ObjectMissing
from plumbline_operator.local.jobs import read_jobs
from plumbline_operator.local.layout import Layout, open_layout
from plumbline_operator.local.records import EventRecord, Record, Records
from plumbline_operator.observed import JobState, Key, PlumblineObject, PlumblineStatus

__all__ = ["LogFile", "Reader", "open_reader"]


@dataclass(frozen=True)
class LogFile:
    """The log of one container in one attempt."""

    child: str
    """The Job or Deployment."""
    attempt: int
    container: str
    path: Path


class Reader:
    """Reads objects, statuses, events and logs; takes no lock."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.records = Records(layout)

    @property
    def store_uri(self) -> str:
        """The artifact store of this state directory."""
        return self.layout.store.as_uri()

    def keys(self) -> tuple[Key, ...]:
        """All objects of our kinds."""
        return self.records.keys()

    def object(self, key: Key) -> PlumblineObject:
        """An object; raises ObjectMissing."""
        found = self.records.object(key)
        if found is None:
            raise self.missing(key.kind.value, key.name)
        return found

    def record(self, key: Key) -> Record:
        """What is kept of an object beside its manifest; raises ObjectMissing."""
        found = self.records.record(key.kind.value, key.namespace, key.name)
        if found is None:
            raise self.missing(key.kind.value, key.name)
        return found

    def status(self, key: Key) -> PlumblineStatus:
        """The status of an object."""
        return self.records.status(key)

    def events(self, key: Key) -> tuple[EventRecord, ...]:
        """The events of an object, oldest first."""
        return self.records.events(key)

    def jobs(self, key: Key) -> tuple[JobState, ...]:
        """The Jobs made for an object."""
        jobs = read_jobs(self.layout.jobs / key.namespace).values()
        return tuple(job.state() for job in jobs if job.record.belongs_to(key))

    def logs(self, key: Key) -> tuple[LogFile, ...]:
        """All logs of what was run for an object, in the order of Jobs and attempts."""
        found: list[LogFile] = []
        for job in read_jobs(self.layout.jobs / key.namespace).values():
            if job.record.belongs_to(key):
                for attempt in job.attempts:
                    found += _logs(job.name, attempt)
        for pod in read_deployments(self.layout.deployments / key.namespace).values():
            if pod.record.belongs_to(key):
                for folder in sorted(pod.folder.iterdir()):
                    for attempt in attempts_in(folder):
                        found += _logs(pod.name, attempt)
        return tuple(found)

    def missing(self, kind: str, name: str) -> ObjectMissing:
        """The error for an object that is not there."""
        remedy = "`plumbline get` lists what there is"
        return ObjectMissing(f"{kind} {name}", f"does not exist in state directory {self.layout.root}", remedy)


def open_reader(state: Path) -> Reader:
    """A reader of an existing state directory; raises StateUnusable where there is none."""
    return Reader(open_layout(state, create=False))


def _logs(child: str, attempt: Attempt) -> list[LogFile]:
    folder = attempt.folder / "logs"
    paths = sorted(folder.glob("*.log")) if folder.is_dir() else []
    return [LogFile(child, attempt.number, path.stem, path) for path in paths]
