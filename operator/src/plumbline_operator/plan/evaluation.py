"""The Job that executes one suite against one model: engine as a native sidecar, evaluator beside it. Pure."""

from plumbline_api import names
from plumbline_api.compute import Compute
from plumbline_api.gate import EvalGate
from plumbline_api.model import digest_of
from plumbline_api.names import CONTAINER_WORKER, Image, Kind, Purpose, port_variable
from plumbline_api.redteam import RedTeamSuite
from plumbline_api.runfile import Input, RunFile, Work
from plumbline_operator.decision import Child
from plumbline_operator.observed import ChildRef, Key, Runtime
from plumbline_operator.plan.engines import ENGINE_PORTS, engine_content, image_of, plan_engine
from plumbline_operator.plan.jobs import GRACE_SECONDS, JobPlan, job
from plumbline_operator.plan.pods import PodPlan, config_map, container, labels, port_env, threads
from plumbline_operator.plan.reporting import plan_reporting

__all__ = ["plan_evaluation"]

_EVALUATOR = Compute(cpu="1")


def plan_evaluation(
    key: Key, gate: EvalGate, suite: RedTeamSuite, model: Input, runtime: Runtime, attempt: int
) -> tuple[Child, Child]:
    """The ConfigMap and the Job; baseline and subject of equal digest share one Job."""
    compute = gate.spec.compute
    run_file = _run_file(key, gate, suite, model, runtime)
    # Where it runs is no part of the result, but a Job that no node takes must become another when that is changed.
    placement = digest_of(compute.of_one_pod())
    name = names.child_name(key.name, suite.metadata.name, f"{run_file.cache_key} {placement} {attempt}")
    child_labels = labels(Kind.EVAL_GATE, key.name) | {
        names.LABEL_PURPOSE: Purpose.EVALUATION.value,
        names.LABEL_SUITE: suite.metadata.name,
        names.LABEL_SUBJECT: model.digest.removeprefix("sha256:")[:12],
    }
    engine = plan_engine(gate.spec.engine, model, compute, runtime, max_tokens=suite.spec.generation.max_tokens)
    target = f"http://127.0.0.1:$({port_variable(names.PORT_ENGINE)})/v1"
    command = ["plumbline-evaluator", "run", "--file", f"{names.MOUNT_RUN}/{names.RUN_FILE}"]
    worker = container(
        CONTAINER_WORKER,
        runtime.images[Image.EVALUATOR],
        # It waits by itself: the engine listens on loopback, where no probe of a kubelet comes.
        [*command, "--work", names.MOUNT_WORK, "--target", target, "--wait", str(engine.start_seconds)],
        compute=_EVALUATOR,
        env=port_env(ENGINE_PORTS),
        mounts={"run": names.MOUNT_RUN, "work": names.MOUNT_WORK},
    )
    reporting = plan_reporting(key, name, runtime)
    pod = PodPlan(
        made_for=Image.EVALUATOR,
        labels=child_labels,
        containers=[worker],
        preparations=engine.preparations,
        sidecars=[engine.container],
        volumes=engine.volumes,
        without_store=engine.without_store,
        config_map=name,
        grace_seconds=GRACE_SECONDS,
        reporting=reporting,
        compute=compute,
    )
    plan = JobPlan(name=name, namespace=key.namespace, labels=child_labels, pod=pod)
    data = {names.RUN_FILE: run_file.pretty(), **({} if reporting is None else reporting.files)}
    return (
        Child(ChildRef("ConfigMap", name), config_map(name, key.namespace, child_labels, data)),
        Child(ChildRef("Job", name), job(plan, runtime)),
    )


def _run_file(key: Key, gate: EvalGate, suite: RedTeamSuite, model: Input, runtime: Runtime) -> RunFile:
    image = runtime.images[Image.EVALUATOR]
    cache_key = digest_of(
        {
            "work": {"redTeam": suite.spec.dump()},
            "inputs": {"model": model.digest},
            "image": image,
            "engine": runtime.images[image_of(gate.spec.engine)],
            **engine_content(gate.spec.engine),
        }
    )
    return RunFile(
        owner=str(key),
        stage=suite.metadata.name,
        work=Work(red_team=suite.spec),
        inputs={"model": model},
        store=runtime.store,
        seed=suite.spec.samples.seed,
        threads=threads(gate.spec.compute),
        cache_key=cache_key,
        image=image,
    )
