"""What the Jobs and Deployments of a cluster are doing: from raw API objects to what decide() sees. Pure.

Called by the Cluster port. Three rules:

- Only the conditions of a Job end it, never its counters: a Job whose first pod failed and whose second did the work
  has succeeded. SuccessCriteriaMet and FailureTarget announce an end and are none.
- What a disruption did (preemption, eviction, a lost node) is told and is no failure.
- A start that is late is a fact here (`waiting_since`, `problem`); whether it is too late is decided by the kinds.

Out of reach: why the Job controller cannot create pods, and what a queue thinks of a Job, stand in events and in the
queue's own objects. The messages name them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD, CONTAINER_WORKER, LABEL_QUEUE, VOLUME_STATUS
from plumbline_api.progress import Progress
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.exits import reason_of_exit
from plumbline_operator.kube.workloads.gangs import Gang, gang_of
from plumbline_operator.kube.workloads.obstacles import PATIENCE, find_obstacle, late_from
from plumbline_operator.kube.workloads.podends import (
    explain_disruption,
    explain_failed_pod,
    failed_container,
    log_of,
    short,
    worker_of,
)
from plumbline_operator.kube.workloads.rawobjects import (
    Raw,
    condition,
    containers_of,
    is_controlled_by,
    is_true,
    moment,
    name_of,
    part,
)
from plumbline_operator.observed import JOB, DeploymentState, JobPhase, JobState, Problem

__all__ = ["deployment_state", "explain_suspension", "job_state"]


def job_state(
    job: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    progress: Progress | None,
    now: datetime,
    *,
    restarts: int = 0,
    listening_since: datetime | None = None,
) -> JobState:
    """The state of a Job.

    Args:
        job: The Job.
        pods: Pods that may be its own; those of an earlier Job of its name are passed over.
        progress: What it reported last.
        now: The moment of looking; some waits are worth a word only after a while.
        restarts: How often it was tried before by whoever made it, and failed.
        listening_since: Since when somebody listens to what it reports; None where nobody does.
    """
    own = sorted((pod for pod in pods if is_controlled_by(pod, job)), key=_age)
    state = JobState(
        name=name_of(job),
        labels=dict(part(job, "metadata", "labels")),
        phase=JobPhase.PENDING,
        progress=progress,
        deleting="deletionTimestamp" in part(job, "metadata"),
    )
    gang = gang_of(job, own)
    if is_true(job, "Complete"):
        return _succeeded(state, gang)
    if is_true(job, "Failed"):
        return _failed(state, job, gang, restarts)
    if part(job, "spec").get("suspend"):
        return replace(state, problem=explain_suspension(job), progress=None)
    state = _unfinished(state, job, gang, now)
    return replace(state, silent_since=_silent_since(state, own, listening_since))


def _age(pod: Raw) -> tuple[str, str]:
    return str(part(pod, "metadata").get("creationTimestamp", "")), name_of(pod)


# Before the end


def explain_suspension(job: Raw, kind: str = JOB) -> Problem:
    """Why a Job, or a JobSet, may not begin."""
    queue = part(job, "metadata", "labels").get(LABEL_QUEUE)
    if queue is None:
        fact = f"somebody has suspended {kind} {name_of(job)}; set its spec.suspend to false, or delete it"
        return Problem(Reason.SUSPENDED, fact)
    fact = f"{kind} {name_of(job)} waits for queue {queue} to admit it; `kubectl describe workloads` shows why"
    return Problem(Reason.QUEUE_PENDING, fact)


def _unfinished(state: JobState, job: Raw, gang: Gang, now: datetime) -> JobState:
    since = moment(part(job, "status").get("startTime")) or moment(part(job, "metadata").get("creationTimestamp"))
    count = len(gang.nodes)
    if len(gang.absent) == count and part(job, "status").get("active"):
        return state  # Its pods are there, and have not been seen yet.
    if len(gang.absent) == count:
        return replace(state, waiting_since=since, problem=_explain_no_pods(job, since, now))
    disruption = gang.disruption()
    late = None if since is None else gang.late_from(since)
    state = replace(state, phase=JobPhase.RUNNING) if gang.complete else replace(state, waiting_since=late)
    state = replace(state, problem=disruption, preempted=disruption is not None)
    obstacle = gang.obstacle(now)
    if obstacle is not None:
        return replace(state, problem=obstacle.problem, hopeless=obstacle.hopeless)
    if gang.absent and part(job, "status").get("active", 0) < count:
        return replace(state, problem=state.problem or _explain_no_pods(job, since, now))
    return state


def _silent_since(state: JobState, own: Sequence[Raw], listening_since: datetime | None) -> datetime | None:
    """Since when the newest pod, which is at work and has what it needs for that, could have reported and has not."""
    if not own or listening_since is None or state.phase != JobPhase.RUNNING:
        return None
    volumes: Sequence[Raw] = part(own[-1], "spec").get("volumes") or ()
    began = moment(part(worker_of(own[-1]), "state", "running").get("startedAt"))
    if began is None or not any(volume.get("name") == VOLUME_STATUS for volume in volumes):
        return None
    told = [] if state.progress is None else [state.progress.last_updated_time]
    return max(began, listening_since, *told)


def _explain_no_pods(job: Raw, since: datetime | None, now: datetime) -> Problem | None:
    if since is None or now - since < PATIENCE:
        return None
    fact = f"no pod is created for Job {name_of(job)} (a quota, an admission policy or its service account)"
    return Problem(Reason.PODS_NOT_CREATED, f"{fact}; `kubectl describe job {name_of(job)}` shows why")


# The end


class _Reading(NamedTuple):
    """A summary, or what is wrong with it (without a word of its content)."""

    summary: Summary | None
    lack: str = ""


def _read(pod: Raw) -> _Reading:
    text = part(worker_of(pod), "state", "terminated").get("message")
    if not text:
        return _Reading(None, "left no summary")
    try:
        return _Reading(Summary.read(str(text)))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        return _Reading(None, f"its summary cannot be read ({field}: {first['type']})")


def _succeeded(state: JobState, gang: Gang) -> JobState:
    """Succeeded, if a summary says so too: that of the first node, which alone publishes."""
    done = [pod for pod in gang.nodes[0] if part(pod, "status").get("phase") == "Succeeded"]
    if not done:
        fact = f"Job {state.name} succeeded, but its pod is gone, and the summary with it"
        remedy = "retry; what it published is taken from the store"
        return _without_report(state, f"{fact}; {remedy}")
    pod = done[-1]
    reading = _read(pod)
    if reading.summary is not None and reading.summary.result == Result.SUCCEEDED:
        return replace(state, phase=JobPhase.SUCCEEDED, summary=reading.summary)
    lack = reading.lack or "its summary does not say that it succeeded"
    fact = f"container {CONTAINER_WORKER} of pod {name_of(pod)} ended with exit code 0, but {lack}"
    remedy = f"report this as a defect of the program; log: {log_of(pod, CONTAINER_WORKER)}"
    return _without_report(state, f"{fact}; {remedy}")


def _without_report(state: JobState, message: str) -> JobState:
    return replace(state, phase=JobPhase.FAILED, problem=Problem(Reason.REPORT_INVALID, message))


def _failed(state: JobState, job: Raw, gang: Gang, restarts: int) -> JobState:
    ends = gang.ended()
    last = next(reversed(ends), None)
    summary = None if last is None else _read(last).summary
    counted = sum(explain_disruption(pod) is None for pod in ends)
    problem = _explain_failure(job, gang, last, summary, attempts=counted + restarts)
    return replace(state, phase=JobPhase.FAILED, summary=summary, problem=problem)


_SPENT: Final = ("BackoffLimitExceeded", "FailedIndexes", "MaxFailedIndexesExceeded")
"""Why a Job has failed whose tries are spent; by node, where there are several."""


def _explain_failure(job: Raw, gang: Gang, last: Raw | None, summary: Summary | None, *, attempts: int) -> Problem:
    ended = condition(job, "Failed") or {}
    if ended.get("reason") == "DeadlineExceeded":
        fact = "all attempts together, their waiting included, took longer than the timeout allows; raise timeout"
        return Problem(Reason.DEADLINE_EXCEEDED, f"Job {name_of(job)}: {fact}")
    if last is None:
        return _explain_by_condition(job, ended)
    reason, fact = explain_failed_pod(last)
    if reason != Reason.OUT_OF_MEMORY and summary is not None and summary.result != Result.SUCCEEDED:
        # A program of somebody else's may leave the reason out, which says Succeeded.
        reason = reason if summary.reason == Reason.SUCCEEDED else summary.reason
        fact = summary.message or fact
    if ended.get("reason") in _SPENT and attempts > 1:
        reason = Reason.BACKOFF_EXCEEDED if reason == Reason.INTERNAL_ERROR else reason
        fact = f"{fact} (attempt {attempts}, the last)"
    container = (failed_container(last) or {}).get("name", CONTAINER_WORKER)
    return Problem(reason, f"{gang.told(last, fact)}; log: {log_of(last, container)}")


def _explain_by_condition(job: Raw, ended: Raw) -> Problem:
    """The pods are gone: what the Job controller wrote is all there is."""
    text = short(str(ended.get("message", "")))
    code = re.search(r"exit code (\d+)", text)
    reason = Reason.INTERNAL_ERROR if code is None else reason_of_exit(int(code[1]))
    if code is None and ended.get("reason") in _SPENT:
        reason = Reason.BACKOFF_EXCEEDED
    return Problem(
        reason, f"Job {name_of(job)} failed ({ended.get('reason')}: {text}); its pods and their logs are gone"
    )


# What is served


def deployment_state(
    deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], service: Mapping[str, Any] | None, now: datetime
) -> DeploymentState:
    """The state of a Deployment of served pods.

    Args:
        deployment: The Deployment.
        pods: Pods that may be its own; those that its selector does not choose, or that are going, are passed over.
        service: The Service in front of the guards, where there is one.
        now: The moment of looking.
    """
    own = sorted((pod for pod in pods if _is_served_by(pod, deployment)), key=lambda pod: (_readiness(pod), _age(pod)))
    endpoint = None if service is None else _address(service)
    state = DeploymentState(name_of(deployment), endpoint=endpoint, replicas=part(deployment, "spec").get("replicas"))
    if not own:
        problem = _explain_refusal(deployment)
        return replace(state, problem=problem, waiting_since=None if problem is None else _born(deployment))
    best = own[-1]
    engine, guard = _is_ready(best, CONTAINER_ENGINE), _is_ready(best, CONTAINER_GUARD)
    state = replace(state, engine_ready=engine, guard_ready=guard, ready=sum(map(_serves, own)))
    if engine and guard:
        return state
    state = replace(state, waiting_since=late_from(best, _born(best)))
    obstacle = find_obstacle(best, now)
    return state if obstacle is None else replace(state, problem=obstacle.problem, hopeless=obstacle.hopeless)


def _is_served_by(pod: Raw, deployment: Raw) -> bool:
    labels = part(pod, "metadata", "labels")
    wanted = part(deployment, "spec", "selector", "matchLabels")
    going = "deletionTimestamp" in part(pod, "metadata")
    over = part(pod, "status").get("phase") in ("Succeeded", "Failed")
    return bool(wanted) and not going and not over and all(labels.get(key) == value for key, value in wanted.items())


def _is_ready(pod: Raw, container: str) -> bool:
    return any(one.get("name") == container and one.get("ready") for one in containers_of(pod))


def _serves(pod: Raw) -> bool:
    return _is_ready(pod, CONTAINER_ENGINE) and _is_ready(pod, CONTAINER_GUARD)


def _readiness(pod: Raw) -> int:
    return sum(bool(one.get("ready")) for one in containers_of(pod))


def _born(raw: Raw) -> datetime | None:
    return moment(part(raw, "metadata").get("creationTimestamp"))


def _explain_refusal(deployment: Raw) -> Problem | None:
    """Other than a Job, a Deployment tells why its pods are refused."""
    refused = condition(deployment, "ReplicaFailure")
    if refused is None or refused.get("status") != "True":
        return None
    fact = f"no pod is created for Deployment {name_of(deployment)}: {short(str(refused.get('message', '')))}"
    return Problem(Reason.PODS_NOT_CREATED, f"{fact}; correct the quota or the policy that refuses")


def _address(service: Raw) -> str:
    """The base URL of a Service, as every pod of the cluster can use it."""
    ports: Sequence[Raw] = part(service, "spec").get("ports") or ()
    port = next((entry.get("port") for entry in ports), 80)
    host = f"{name_of(service)}.{part(service, 'metadata').get('namespace', 'default')}.svc"
    return f"http://{host}" if port == 80 else f"http://{host}:{port}"
