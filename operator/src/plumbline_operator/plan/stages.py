"""The Job of one training stage: its run file, its cache key, its name. Pure; called by decide_run.

A stage of several nodes gets a JobSet instead where the place has them, and otherwise an Indexed Job.
"""

from plumbline_api import names
from plumbline_api.alignment import AlignmentRun, Stage
from plumbline_api.compute import Compute
from plumbline_api.model import digest_of
from plumbline_api.names import CONTAINER_WORKER, Image, Kind, Purpose
from plumbline_api.runfile import Input, RunFile, Work
from plumbline_api.scalars import parse_duration
from plumbline_operator.decision import Child
from plumbline_operator.observed import JOB, JOB_SET, ChildRef, Key, Runtime
from plumbline_operator.plan.gangs import PORTS, join, plan_gang
from plumbline_operator.plan.jobs import GRACE_SECONDS, JobPlan, job
from plumbline_operator.plan.jobsets import job_set
from plumbline_operator.plan.pods import Manifest, PodPlan, config_map, container, labels, threads
from plumbline_operator.plan.reporting import plan_reporting
from plumbline_operator.plan.signing import with_signing_key

__all__ = ["plan_stage"]


def plan_stage(
    key: Key, run: AlignmentRun, stage: Stage, inputs: dict[str, Input], runtime: Runtime, attempt: int
) -> tuple[Child, ...]:
    """The ConfigMap and, last, the Job of a stage whose inputs (`model`, `dataset`, maybe `heldOut`) are known.

    Between them stands what the pods of several nodes need to find each other.
    """
    run_file = _run_file(key, run, stage, inputs, runtime)
    content = f"{run_file.cache_key} {attempt}"
    if run_file.nodes == 1:
        name = names.child_name(key.name, stage.name, content)
        return _children(key, run, stage, run_file, name, runtime)
    # Job and JobSet have a name each: where one takes the other's place, their Services are not the same either.
    name = names.gang_name(key.name, stage.name, f"{content} {JOB_SET if runtime.job_sets else JOB}")
    config, work = _children(key, run, stage, run_file, name, runtime)
    return (config, *plan_gang(key, name, runtime, job_set=runtime.job_sets), work)


def _children(
    key: Key, run: AlignmentRun, stage: Stage, run_file: RunFile, name: str, runtime: Runtime
) -> tuple[Child, Child]:
    child_labels = labels(Kind.ALIGNMENT_RUN, key.name) | {
        names.LABEL_PURPOSE: Purpose.STAGE.value,
        names.LABEL_STAGE: stage.name,
    }
    several, sign = run_file.nodes > 1, run.spec.output.sign
    reporting = plan_reporting(key, name, runtime)
    pod = PodPlan(
        made_for=Image.TRAINER,
        labels=child_labels | ({names.LABEL_GANG: name} if several else {}),
        containers=[_worker(run, name, runtime)],
        config_map=name,
        grace_seconds=GRACE_SECONDS,
        reporting=reporting,
        compute=run.spec.compute,
        subdomain=name if several else "",
        signing_secret="" if sign is None else sign.secret,
    )
    timeout = stage.options.timeout
    plan = JobPlan(
        name=name,
        namespace=key.namespace,
        labels=child_labels,
        pod=pod,
        deadline_seconds=None if timeout is None else parse_duration(timeout),
        queue=run.spec.queue,
        nodes=run_file.nodes,
    )
    data = {names.RUN_FILE: run_file.pretty(), **({} if reporting is None else reporting.files)}
    config = Child(ChildRef("ConfigMap", name), config_map(name, key.namespace, child_labels, data))
    if several and runtime.job_sets:
        return config, Child(ChildRef(JOB_SET, name), job_set(plan, runtime))
    return config, Child(ChildRef(JOB, name), job(plan, runtime))


def _worker(run: AlignmentRun, name: str, runtime: Runtime) -> Manifest:
    command = ["plumbline-trainer", "run", "--file", f"{names.MOUNT_RUN}/{names.RUN_FILE}", "--work", names.MOUNT_WORK]
    nodes = run.spec.compute.nodes
    made = container(
        CONTAINER_WORKER,
        runtime.images[Image.TRAINER],
        command,
        compute=run.spec.compute,
        ports=PORTS if nodes > 1 else None,
        mounts={"run": names.MOUNT_RUN, "work": names.MOUNT_WORK},
    )
    if run.spec.output.sign is not None:
        made = with_signing_key(made)
    return made if nodes == 1 else join(made, name, nodes, job_set=runtime.job_sets)


def _run_file(key: Key, run: AlignmentRun, stage: Stage, inputs: dict[str, Input], runtime: Runtime) -> RunFile:
    last = stage is run.spec.stages[-1]
    merge = run.spec.output.merge or not last
    image = runtime.images[Image.TRAINER]
    return RunFile(
        owner=str(key),
        stage=stage.name,
        work=Work(sft=stage.sft, dpo=stage.dpo),
        inputs=inputs,
        store=runtime.store,
        seed=run.spec.seed,
        threads=threads(run.spec.compute),
        nodes=run.spec.compute.nodes,
        gpus=_gpus(run.spec.compute),
        merge=merge,
        cache_key=_cache_key(run, stage, inputs, image, merge=merge),
        reuse=run.spec.reuse,
        image=image,
    )


def _cache_key(run: AlignmentRun, stage: Stage, inputs: dict[str, Input], image: str, *, merge: bool) -> str:
    """Digest of all that the result depends on.

    Where files lie and how often checkpoints are written changes nothing, so sources, timeout and saveSteps are
    left out; the numbers of threads, nodes and GPUs are in, because they change the order of floating-point sums.
    """
    options = stage.options.dump()
    for irrelevant in ("dataset", "heldOut", "timeout", "saveSteps"):
        options.pop(irrelevant, None)
    compute = run.spec.compute
    return digest_of(
        {
            "work": {stage.chosen: options},
            "inputs": {name: found.digest for name, found in sorted(inputs.items())},
            "image": image,
            "seed": run.spec.seed,
            "merge": merge,
            "threads": threads(compute),
            # One node says nothing, and no GPU: as before there could be, so that results from then are still found.
            **({"nodes": compute.nodes} if compute.nodes > 1 else {}),
            **({"gpus": _gpus(compute)} if compute.gpu else {}),
        }
    )


def _gpus(compute: Compute) -> int:
    """GPUs of each pod."""
    return 0 if compute.gpu is None else compute.gpu.count
