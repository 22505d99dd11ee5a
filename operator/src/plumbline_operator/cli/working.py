"""Commands that change something: run, serve, delete, retry. They hold the state directory while they work."""

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from plumbline_api.alignment import AlignmentRun
from plumbline_api.configmap import ConfigMap
from plumbline_api.gate import EvalGateStatus
from plumbline_api.guarded import GuardedInferenceStatus
from plumbline_api.manifests import Located, Object
from plumbline_api.names import SHORT_NAMES, ExitCode, Kind
from plumbline_api.redteam import RedTeamSuiteStatus
from plumbline_operator.cli.display import Display
from plumbline_operator.cli.endings import exit_code
from plumbline_operator.cli.kinds import parse_kind
from plumbline_operator.cli.manifests import load_manifests
from plumbline_operator.cli.reading import existing
from plumbline_operator.cli.tables import objects_table, rates_table, rules_table
from plumbline_operator.local.controller import Snapshot
from plumbline_operator.local.errors import ObjectMissing
from plumbline_operator.local.ignored import ignored_fields
from plumbline_operator.local.records import key_of
from plumbline_operator.local.session import ManifestObject, Session, open_session
from plumbline_operator.local.settings import LocalSettings, read_settings
from plumbline_operator.observed import Key, PlumblineStatus

__all__ = ["Keys", "RunPlan", "delete", "dry_run", "retry", "run", "serve", "targets"]

Environment = Mapping[str, str]
Target = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True)
class Keys:
    """Files with keys: whose signatures count, and what to sign with."""

    trust: Sequence[Path] = ()
    sign_with: Path | None = None

    @property
    def trusted(self) -> str | None:
        """The trusted keys as text; None where none were named. Raises KeyUnusable."""
        if not self.trust:
            return None
        from plumbline_store.signing import Trust

        return Trust.read(self.trust).text

    def settings(self, environ: Environment, *, guard_port: int | None = None) -> LocalSettings:
        """Local mode's settings with these keys."""
        key = None if self.sign_with is None else self.sign_with.absolute()
        return read_settings(environ, guard_port=guard_port, trust=self.trusted, signing_key=key)


@dataclass(frozen=True)
class RunPlan:
    """What `plumbline run` was asked to do."""

    files: Sequence[Path]
    state: Path
    replace: bool
    wait: float
    smoke: str
    keys: Keys = field(default_factory=Keys)


def dry_run(located: Sequence[Located[Object]], console: Console) -> int:
    """Say what the manifests would make."""
    for item in located:
        thing = item.object
        stages = (
            [f"{stage.name} ({stage.chosen})" for stage in thing.spec.stages] if isinstance(thing, AlignmentRun) else []
        )
        words = f": stages {', '.join(stages)}" if stages else ""
        console.print(f"{item.filename}:{item.line}: would apply {thing.kind}/{thing.metadata.name}{words}")
    _tell_ignored(located, console)
    return ExitCode.OK


def run(plan: RunPlan, environ: Environment, console: Console) -> int:
    """Apply the manifests, bring everything to rest, say how it ended."""
    located = load_manifests(plan.files, existing(plan.state))
    return asyncio.run(_run(plan, located, environ, console))


async def _run(plan: RunPlan, located: Sequence[Located[Object]], environ: Environment, console: Console) -> int:
    settings = plan.keys.settings(environ)
    _tell_ignored(located, console)
    async with open_session(plan.state, settings, wait=plan.wait, on_wait=console.print) as session:
        await session.apply(
            [ManifestObject(item.object, Path(item.filename)) for item in located], replace=plan.replace
        )
        keys = [key_of(item.object) for item in located if not isinstance(item.object, ConfigMap)]
        code = await _settle(session, keys, console)
        if plan.smoke and code == ExitCode.OK:
            code = await _smoke(plan.smoke, session, keys, environ, console)
    return code


def _tell_ignored(located: Sequence[Located[Object]], console: Console) -> None:
    for item in located:
        for sentence in () if isinstance(item.object, ConfigMap) else ignored_fields(item.object):
            console.print(f"{item.filename}:{item.line}: {sentence}", style="dim", soft_wrap=True)


async def _settle(session: Session, keys: Sequence[Key], console: Console) -> int:
    """Run until rest, showing how it goes; then the tables and the exit code."""
    with Display(console) as display:
        snapshot = await session.run_until_settled(keys, lambda seen: display.update(_statuses(seen, keys)))
    statuses = _statuses(snapshot, keys)
    _conclude(statuses, console)
    return exit_code(status for _, status in statuses)


def _statuses(snapshot: Snapshot, keys: Sequence[Key]) -> list[tuple[Key, PlumblineStatus]]:
    """By kind in the order in which work flows, then as the manifests have it, then what those name."""
    kinds = list(Kind)
    place = {key: number for number, key in enumerate(keys)}
    ordered = sorted(snapshot.views, key=lambda key: (kinds.index(key.kind), place.get(key, len(place)), key))
    return [(key, snapshot.views[key].status) for key in ordered]


def _conclude(statuses: Sequence[tuple[Key, PlumblineStatus]], console: Console) -> None:
    """What was measured, what the gates say, how everything ended."""
    suites = {key.name: status for key, status in statuses if isinstance(status, RedTeamSuiteStatus)}
    for key, status in statuses:
        if isinstance(status, EvalGateStatus) and status.verdict is not None:
            _show_rates(status, suites, console)
            console.print(f"\nEvalGate {key.name}: {status.verdict}", style="bold")
            console.print(rules_table(status.rows))
            for advice in status.advice:
                console.print(f"try: {advice}", soft_wrap=True)
    console.print()
    console.print(objects_table(statuses))
    for key, status in statuses:
        if isinstance(status, GuardedInferenceStatus) and status.stable is not None:
            console.print(f"\nTalk to it: plumbline serve {key.name}", soft_wrap=True)


def _show_rates(gate: EvalGateStatus, suites: Mapping[str, RedTeamSuiteStatus], console: Console) -> None:
    for name in dict.fromkeys(row.suite for row in gate.rows):
        found = (
            {execution.subject: execution for execution in reversed(suites[name].executions)} if name in suites else {}
        )
        after = found.get(gate.subject or "")
        if after is not None:
            console.print(f"\nRedTeamSuite {name}, exact 95 % intervals", style="bold")
            console.print(rates_table(found.get(gate.baseline or ""), after))
            for judge in next((item.judge for item in gate.evidence if item.suite == name), ()):
                if judge.precision is not None and judge.recall is not None:
                    console.print(
                        f"judge {judge.judge}: precision {judge.precision:.3f}, recall {judge.recall:.3f} "
                        f"on {judge.labelled_set}",
                        style="dim",
                        soft_wrap=True,
                    )


async def _smoke(command: str, session: Session, keys: Sequence[Key], environ: Environment, console: Console) -> int:
    """Run a command while what passed is served; its failure is ours."""
    served = [status.stable for key in keys if isinstance(status := session.status(key), GuardedInferenceStatus)]
    endpoint = next((found.endpoint for found in served if found is not None and found.endpoint), None)
    if endpoint is None:
        raise ObjectMissing("--smoke", "nothing is served", "add a GuardedInference, or leave --smoke out")
    console.print(f"\n$ {command}", style="dim", soft_wrap=True)
    child = await asyncio.create_subprocess_exec(
        *shlex.split(command), env={**environ, "PLUMBLINE_ENDPOINT": f"{endpoint}/v1"}
    )
    code = await child.wait()
    return ExitCode.OK if code == 0 else ExitCode.NOT_PASSED


def serve(
    namespace: str,
    name: str,
    state: Path,
    port: int | None,
    wait: float,
    keys: Keys,
    environ: Environment,
    console: Console,
) -> int:
    """Keep a guarded model up until a signal."""
    key = Key(Kind.GUARDED_INFERENCE, namespace, name)
    settings = keys.settings(environ, guard_port=port)
    told: list[str] = []

    def say(snapshot: Snapshot) -> None:
        status = snapshot.views[key].status
        endpoint = status.stable.endpoint if isinstance(status, GuardedInferenceStatus) and status.stable else None
        line = f"serving {name} at {endpoint}/v1 (Ctrl-C ends it)" if endpoint else f"{name}: {_said(status)}"
        if told[-1:] != [line]:
            told.append(line)
            console.print(line, soft_wrap=True)

    async def work() -> int:
        async with open_session(state, settings, wait=wait, on_wait=console.print) as session:
            session.object(key)
            await session.serve(key, say)
        return ExitCode.OK

    return asyncio.run(work())


def _said(status: PlumblineStatus) -> str:
    return status.conditions[0].message if status.conditions else "starting"


def targets(files: Sequence[Path], kind: str, namespace: str, name: str) -> list[Target]:
    """What to delete: the objects of files, users before what they use, or the one named."""
    if not files:
        return [(parse_kind(kind), namespace, name)]
    order = ["GuardedInference", "EvalGate", "RedTeamSuite", "AlignmentRun", "ConfigMap"]
    things = [item.object for item in load_manifests(files)]
    things.sort(key=lambda thing: order.index(thing.kind))
    return [(thing.kind, thing.metadata.namespace, thing.metadata.name) for thing in things]


def delete(wanted: Sequence[Target], state: Path, wait: float, environ: Environment, console: Console) -> int:
    """Remove objects and end their processes."""

    async def work() -> int:
        async with open_session(state, read_settings(environ), wait=wait, on_wait=console.print) as session:
            for kind, namespace, name in wanted:
                await session.delete(kind, namespace, name)
                console.print(f"{kind}/{name} deleted")
        return ExitCode.OK

    return asyncio.run(work())


def retry(
    kind: str, namespace: str, name: str, state: Path, wait: float, keys: Keys, environ: Environment, console: Console
) -> int:
    """Ask for a new attempt and wait for the end."""
    full = parse_kind(kind)
    if full not in (Kind.ALIGNMENT_RUN, Kind.EVAL_GATE):
        known = f"{SHORT_NAMES[Kind.ALIGNMENT_RUN]} and {SHORT_NAMES[Kind.EVAL_GATE]}"
        raise ObjectMissing(f"{full} {name}", "cannot be retried", f"only {known} can")
    key = Key(Kind(full), namespace, name)

    async def work() -> int:
        async with open_session(state, keys.settings(environ), wait=wait, on_wait=console.print) as session:
            session.retry(key)
            return await _settle(session, [key], console)

    return asyncio.run(work())
