"""One training stage from RunFile to Summary; reads like its table of contents.

Called by `main`. Nothing heavy is imported before the stage cache was asked and the inputs were checked.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from plumbline_api.alignment import DpoOptions, Reuse, SftOptions
from plumbline_api.artifact import ArtifactRef, MediaType, Parent
from plumbline_api.report import Report, Result, Summary
from plumbline_api.runfile import RunFile
from plumbline_store import Reporter, Silence, Store, StoreError, open_store
from plumbline_trainer.advice import advise
from plumbline_trainer.checkpoints import SEAL, complete_checkpoints, read_seal
from plumbline_trainer.failures import StageFailure
from plumbline_trainer.keeping import WAITING, Keep, fetch_checkpoint, forget_checkpoint, keep_nothing, keeping
from plumbline_trainer.options import refuse_impossible
from plumbline_trainer.outcome import describe_failure, library_versions
from plumbline_trainer.preparation import Prepared, options_of, prepare
from plumbline_trainer.progress import ProgressLog
from plumbline_trainer.settings import Signatures
from plumbline_trainer.stopping import StopSwitch
from plumbline_trainer.world import Nodes, World, plan_team

if TYPE_CHECKING:
    from plumbline_trainer.training import Orders, Trained

    Train = Callable[[Orders], Trained]

__all__ = ["Stage", "clear_work", "run_stage"]

log = logging.getLogger(__name__)


Made = TypeVar("Made")


@dataclass(frozen=True)
class Stage:
    """A stage's orders and surroundings."""

    run: RunFile
    work: Path
    progress: ProgressLog
    stop: StopSwitch
    clock: Callable[[], datetime]
    nodes: Nodes = field(default_factory=Nodes)
    """The pods that train together."""
    another_reporter: Callable[[], Reporter] = Silence
    """Makes one for a process that is started to train."""
    work_stays: bool = True
    """Whether the next attempt finds the work folder as this one leaves it; otherwise checkpoints go into the store."""
    signatures: Signatures = field(default_factory=Signatures)
    """Whose signatures inputs need, and what the output is signed with."""

    @property
    def keeps(self) -> bool:
        """Whether checkpoints go into the store. Those of several pods are made of parts, of which each has its own."""
        return not self.work_stays and self.nodes.count == 1


@dataclass
class Record:
    """What becomes known on the way and goes into the report, whatever the end."""

    started: datetime
    counts: dict[str, int]
    metrics: dict[str, float]
    timings: dict[str, float]


def run_stage(stage: Stage) -> Summary:
    """Give the recorded result of identical orders, or train and publish; of several nodes, the first publishes.

    Raises:
        StageFailure, StoreError: see there; a report of the failure was published where that was possible.
        Preempted: told to stop; what allows resuming is in the work folder.
    """
    options = options_of(stage.run)
    refuse_impossible(options)
    store = open_store(stage.run.store, stage.signatures.of_outputs)
    known = None if stage.run.reuse is Reuse.NEVER else store.recall(stage.run.cache_key)
    if known is not None:
        log.info("the stage cache holds this result; nothing to train")
        return known.model_copy(update={"cached": True})
    record = Record(stage.clock(), {}, {}, {})
    try:
        prepared = _timed(stage, record, "prepare", lambda: _prepare(stage, record))
        folder = _timed(stage, record, "train", lambda: _train(stage, store, prepared, record))
        if stage.nodes.rank > 0:
            return Summary(result=Result.SUCCEEDED, cache_key=stage.run.cache_key)
        output = _timed(stage, record, "publish", lambda: _publish(stage, store, folder, prepared.licence))
    except StageFailure as failure:
        _report_failure(stage, store, record, failure)
        raise
    summary = Summary(result=Result.SUCCEEDED, cache_key=stage.run.cache_key, output=output)
    summary = _report(stage, store, record, summary, advise(record.counts, record.metrics))
    store.record(stage.run.cache_key, summary)
    if stage.keeps:
        forget_checkpoint(store, stage.run.cache_key)
    return summary


def clear_work(work: Path) -> None:
    """Give back the space of a stage whose result is recorded and reported."""
    for name in ("inputs", "checkpoints", "output", "output.new", "cache", "tmp", WAITING):
        shutil.rmtree(work / name, ignore_errors=True)


def _prepare(stage: Stage, record: Record) -> Prepared:
    prepared = prepare(stage.run, stage.work, stage.progress, stage.signatures.trust)
    record.counts.update(prepared.counts)
    log.info("data: %s", ", ".join(f"{name} {count}" for name, count in prepared.counts.items()))
    return prepared


def _train(stage: Stage, store: Store, prepared: Prepared, record: Record) -> Path:
    """The folder of the finished model: one that an earlier attempt left, or a newly trained one."""
    output = stage.work / "output"
    left = read_seal(output, stage.run.cache_key)
    if left is not None:
        log.info("an earlier attempt finished training; publishing its model")
        record.metrics.update(left.metrics)
        return output
    stage.stop.check()
    options = options_of(stage.run)
    weight_bytes, gpus = prepared.model.weight_bytes, stage.run.gpus
    team = plan_team(stage.nodes, stage.run.threads, options.batch_size, weight_bytes, gpus)
    log.info("%d process(es) with %d thread(s) each, on %d node(s)", team.processes, team.threads, team.nodes.count)
    if stage.keeps:
        stage.progress.phase("looking for a checkpoint")
        fetch_checkpoint(store, stage.run.cache_key, stage.work / "checkpoints")
    stage.progress.phase("starting torch")
    train = _load(options)
    from plumbline_trainer.training import Orders

    found = complete_checkpoints(stage.work / "checkpoints", stage.run.cache_key)
    orders = Orders(stage.run, prepared, stage.work, stage.progress, stage.stop, team.world(0), team.threads, found)
    if team.size == 1:
        with _keeping(stage) as keep:
            record.metrics.update(train(replace(orders, keep=keep)).metrics)
        return output
    from plumbline_trainer.ranks import run_ranks

    run_ranks(team, partial(_train_along, stage, orders, train), stage.stop, stage.work / "tmp")
    if stage.nodes.rank == 0:
        record.metrics.update(_read_model(stage, output))
    return output


def _load(options: SftOptions | DpoOptions) -> "Train":
    """Import what trains, which takes seconds, once for all processes."""
    if isinstance(options, SftOptions):
        from plumbline_trainer.sft import train_sft

        return partial(train_sft, options=options)
    from plumbline_trainer.dpo import train_dpo

    return partial(train_dpo, options=options)


def _train_along(stage: Stage, orders: "Orders", train: "Train", world: World, stop: StopSwitch) -> None:
    """The part of one process of several; the first reports, and leaves the model."""
    # A thread that reports did not come along when this process was forked.
    reporter = stage.another_reporter() if world.leads else Silence()
    try:
        with _keeping(stage) if world.leads else nullcontext(keep_nothing) as keep:
            train(replace(orders, world=world, stop=stop, progress=ProgressLog(reporter, stage.clock), keep=keep))
    finally:
        reporter.close()


@contextmanager
def _keeping(stage: Stage) -> Iterator[Keep]:
    """What takes checkpoints in this process; its connections are its own."""
    if not stage.keeps:
        yield keep_nothing
        return
    with keeping(open_store(stage.run.store), stage.run.cache_key, stage.work, stage.signatures.key) as keep:
        yield keep


def _read_model(stage: Stage, folder: Path) -> dict[str, float]:
    """The numbers that the processes' model was sealed with."""
    left = read_seal(folder, stage.run.cache_key)
    if left is None:
        raise StageFailure("training left no complete model; the log has its last words")
    return left.metrics


def _publish(stage: Stage, store: Store, folder: Path, licence: str | None) -> ArtifactRef:
    stage.progress.trained("publishing")
    parents = tuple(Parent(role=role, digest=stage.run.inputs[role].digest) for role in ("dataset", "model"))
    adapter = (folder / "adapter_config.json").is_file()
    kind = MediaType.ADAPTER if adapter else MediaType.MODEL
    made = store.publish(folder, kind, parents=parents, licence=licence, include=_belongs)
    if stage.signatures.key is not None:
        store.sign(made.digest, stage.signatures.key)
        log.info("signed by sha256:%s", stage.signatures.key.name[:12])
    return made


def _belongs(path: str) -> bool:
    return path != SEAL


def _report(stage: Stage, store: Store, record: Record, summary: Summary, advice: tuple[str, ...]) -> Summary:
    """Publish the full report and bind the summary to it."""
    report = Report(
        summary=summary,
        owner=stage.run.owner,
        stage=stage.run.stage,
        image=stage.run.image,
        inputs={name: source.digest for name, source in stage.run.inputs.items()},
        start_time=record.started,
        completion_time=stage.clock(),
        timings=record.timings,
        versions=dict(library_versions()),
        metrics=record.metrics,
        counts=record.counts,
        advice=advice,
    )
    parents = () if summary.output is None else (Parent(role="output", digest=summary.output.digest),)
    ref = store.publish_bytes({"report.json": report.pretty().encode()}, MediaType.REPORT, parents=parents)
    return summary.model_copy(update={"report": ref})


def _report_failure(stage: Stage, store: Store, record: Record, failure: StageFailure) -> None:
    summary = describe_failure(failure, stage.run.cache_key)
    try:
        failure.report = _report(stage, store, record, summary, failure.advice).report
    except StoreError as error:
        log.warning("no report of the failure could be published: %s", error)


def _timed(stage: Stage, record: Record, name: str, work: Callable[[], Made]) -> Made:
    began = stage.clock()
    try:
        return work()
    finally:
        record.timings[name] = round((stage.clock() - began).total_seconds(), 3)
