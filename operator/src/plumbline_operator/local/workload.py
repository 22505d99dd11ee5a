"""All Jobs and Deployments of a state directory, and the tasks that see them through. Used by `cluster`."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plumbline_operator.local.cores import Cores
from plumbline_operator.local.deployments import Deployment, read_deployments
from plumbline_operator.local.errors import in_plain_words
from plumbline_operator.local.jobs import Job, read_jobs
from plumbline_operator.local.layout import Layout, write_atomically
from plumbline_operator.local.machine import Machine
from plumbline_operator.local.ownership import OwnedManifest
from plumbline_operator.local.settings import LocalSettings
from plumbline_operator.observed import Key

__all__ = ["TextLookup", "Workload"]

TextLookup = Callable[[str, str], Mapping[str, str] | None]
"""Looks up the data of a ConfigMap by namespace and name."""
Child = Job | Deployment


class Workload:
    """The children that have processes."""

    def __init__(self, layout: Layout, settings: LocalSettings, texts: TextLookup, changed: Callable[[], None]) -> None:
        self._layout = layout
        self._texts = texts
        self._changed = changed
        self._machine = Machine(settings, Cores(settings.cores))
        self._tasks: dict[Path, asyncio.Task[None]] = {}
        self._failed: list[BaseException] = []
        self._closing = False
        self._jobs: dict[Path, Job] = {}
        self._pods: dict[Path, Deployment] = {}
        for folder in _folders(layout.jobs):
            self._jobs.update(read_jobs(folder))
        for folder in _folders(layout.deployments):
            self._pods.update(read_deployments(folder))

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All Jobs, by name."""
        return tuple(self._jobs[folder] for folder in sorted(self._jobs))

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        """All Deployments, by name."""
        return tuple(self._pods[folder] for folder in sorted(self._pods))

    @property
    def busy(self) -> bool:
        """Whether something goes on by itself: a Job that has not ended, or a Deployment that is kept up."""
        return any(not task.done() for task in self._tasks.values())

    def raise_failure(self) -> None:
        """Raise what ended the task of a child, where something did: the disk is full, for example."""
        if self._failed:
            raise self._failed[0]

    def create_job(self, owner: Key, manifest: Mapping[str, Any]) -> None:
        """Keep a Job and start it, unless there is one of this name."""
        folder = self._layout.job(owner.namespace, manifest["metadata"]["name"])
        if folder not in self._jobs:
            record = OwnedManifest.of(owner, manifest)
            write_atomically(folder / OwnedManifest.FILE, record.pretty())
            self._jobs[folder] = Job(folder, record)
        self._see_through(self._jobs[folder])

    def create_deployment(self, owner: Key, manifest: Mapping[str, Any]) -> None:
        """Keep a Deployment and start it, unless there is one of this name."""
        folder = self._layout.deployment(owner.namespace, manifest["metadata"]["name"])
        if folder not in self._pods:
            record = OwnedManifest.of(owner, manifest)
            write_atomically(folder / OwnedManifest.FILE, record.pretty())
            self._pods[folder] = Deployment(folder, record)
        self._see_through(self._pods[folder])

    def resume(self, owners: frozenset[Key]) -> None:
        """See the unfinished children of these owners through."""
        for child in self._children():
            if any(child.record.belongs_to(owner) for owner in owners):
                self._see_through(child)

    async def remove(self, kind: str, namespace: str, name: str) -> None:
        """End a child's processes and remove its folder."""
        place = self._layout.job if kind == "Job" else self._layout.deployment
        folder = place(namespace, name)
        child: Child | None = self._jobs.pop(folder, None) or self._pods.pop(folder, None)
        if child is None:
            return
        await self._end(child)
        graveyard = folder.with_name(f".{folder.name}.removed")
        with in_plain_words(folder):
            shutil.rmtree(graveyard, ignore_errors=True)
            folder.replace(graveyard)
            shutil.rmtree(graveyard)

    async def close(self) -> None:
        """End all processes with grace; Jobs go on in a later plumbline."""
        self._closing = True
        for child in self._children():
            child.stop()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def kill(self) -> None:
        """End all processes at once."""
        for child in self._children():
            child.kill()

    def _children(self) -> list[Child]:
        return [*self.jobs, *self.deployments]

    def _see_through(self, child: Child) -> None:
        task = self._tasks.get(child.folder)
        if child.done or self._closing or (task is not None and not task.done()):
            return
        namespace = child.folder.parent.name
        work = child.see_through(self._machine, lambda name: self._texts(namespace, name), self._changed)
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        self._tasks[child.folder] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed.append(error)
        self._changed()

    async def _end(self, child: Child) -> None:
        child.stop()
        task = self._tasks.pop(child.folder, None)
        if task is not None:
            if not child.running:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await child.wait_until_gone(self._machine.settings.ending_poll)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
