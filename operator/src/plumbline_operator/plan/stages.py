"""The Job of one training stage: its run file, its cache key, its name. Pure; called by decide_run."""

from plumbline_api import names
from plumbline_api.alignment import AlignmentRun, Stage
from plumbline_api.compute import Compute
from plumbline_api.model import digest_of
from plumbline_api.names import CONTAINER_WORKER, Image, Kind, Purpose
from plumbline_api.runfile import Input, RunFile, Work
from plumbline_api.scalars import parse_duration
from plumbline_operator.decision import Child
from plumbline_operator.observed import ChildRef, Key, Runtime
from plumbline_operator.plan.jobs import GRACE_SECONDS, JobPlan, job
from plumbline_operator.plan.pods import PodPlan, config_map, container, labels, threads

__all__ = ["plan_stage"]


def plan_stage(
    key: Key, run: AlignmentRun, stage: Stage, inputs: dict[str, Input], runtime: Runtime, attempt: int
) -> tuple[Child, Child]:
    """The ConfigMap and the Job of a stage whose inputs (`model`, `dataset`, maybe `heldOut`) are known."""
    run_file = _run_file(key, run, stage, inputs, runtime)
    name = names.child_name(key.name, stage.name, f"{run_file.cache_key} {attempt}")
    child_labels = labels(Kind.ALIGNMENT_RUN, key.name) | {
        names.LABEL_PURPOSE: Purpose.STAGE.value,
        names.LABEL_STAGE: stage.name,
    }
    timeout = stage.options.timeout
    command = ["plumbline-trainer", "run", "--file", f"{names.MOUNT_RUN}/{names.RUN_FILE}", "--work", names.MOUNT_WORK]
    worker = container(
        CONTAINER_WORKER,
        runtime.images[Image.TRAINER],
        command,
        compute=run.spec.compute,
        mounts={"run": names.MOUNT_RUN, "work": names.MOUNT_WORK},
    )
    pod = PodPlan(
        made_for=Image.TRAINER,
        labels=child_labels,
        containers=[worker],
        config_map=name,
        grace_seconds=GRACE_SECONDS,
        compute=run.spec.compute,
    )
    plan = JobPlan(
        name=name,
        namespace=key.namespace,
        labels=child_labels,
        pod=pod,
        deadline_seconds=None if timeout is None else parse_duration(timeout),
        queue=run.spec.queue,
    )
    data = {names.RUN_FILE: run_file.pretty()}
    return (
        Child(ChildRef("ConfigMap", name), config_map(name, key.namespace, child_labels, data)),
        Child(ChildRef("Job", name), job(plan, runtime)),
    )


def _run_file(key: Key, run: AlignmentRun, stage: Stage, inputs: dict[str, Input], runtime: Runtime) -> RunFile:
    work = Work(sft=stage.sft, dpo=stage.dpo)
    last = stage is run.spec.stages[-1]
    merge = run.spec.output.merge or not last
    image = runtime.images[Image.TRAINER]
    return RunFile(
        owner=str(key),
        stage=stage.name,
        work=work,
        inputs=inputs,
        store=runtime.store,
        seed=run.spec.seed,
        threads=threads(run.spec.compute),
        merge=merge,
        cache_key=_cache_key(stage, inputs, image, seed=run.spec.seed, merge=merge, compute=run.spec.compute),
        reuse=run.spec.reuse,
        image=image,
    )


def _cache_key(stage: Stage, inputs: dict[str, Input], image: str, *, seed: int, merge: bool, compute: Compute) -> str:
    """Digest of all that the result depends on.

    Where files lie and how often checkpoints are written changes nothing, so sources, timeout and saveSteps are
    left out; the number of threads is in, because it changes the order of floating-point sums.
    """
    options = stage.options.dump()
    for irrelevant in ("dataset", "heldOut", "timeout", "saveSteps"):
        options.pop(irrelevant, None)
    return digest_of(
        {
            "work": {stage.chosen: options},
            "inputs": {name: found.digest for name, found in sorted(inputs.items())},
            "image": image,
            "seed": seed,
            "merge": merge,
            "threads": threads(compute),
        }
    )
