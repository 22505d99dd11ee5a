"""Commands that only read: get, describe, logs, events, lineage. They take no lock and disturb nobody."""

import json
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version as installed_version
from pathlib import Path

from rich.console import Console
from rich.tree import Tree

from plumbline_api.alignment import AlignmentRunStatus
from plumbline_api.gate import EvalGateStatus
from plumbline_api.guarded import GuardedInferenceStatus
from plumbline_api.model import format_time
from plumbline_api.names import SHORT_NAMES, ExitCode, Kind
from plumbline_api.references import ObjectName
from plumbline_operator.cli.kinds import CONFIG_MAP, parse_kind
from plumbline_operator.cli.tables import numbers, objects_table, rates_table, rules_table, span
from plumbline_operator.cli.yamltext import write_yaml
from plumbline_operator.local.errors import ObjectMissing
from plumbline_operator.local.reader import LogFile, Reader, open_reader
from plumbline_operator.observed import Key, PlumblineStatus
from plumbline_store import Lineage, Presence, open_store

__all__ = ["describe", "events", "existing", "get", "lineage", "lineage_in", "logs", "version"]

_REFRESH_SECONDS = 1.0


def existing(state: Path) -> frozenset[ObjectName]:
    """Names of the objects that a state directory holds; none where there is no directory, or an empty one."""
    if not state.is_dir() or not any(state.iterdir()):
        return frozenset()
    records = open_reader(state).records
    found = {ObjectName(key.kind.value, key.namespace, key.name) for key in records.keys()}
    return frozenset(
        found | {ObjectName(CONFIG_MAP, namespace, name) for namespace, name, _ in records.kept(CONFIG_MAP)}
    )


def _find_keys(reader: Reader, kind: str, name: str) -> list[Key]:
    wanted = None if kind == "all" else parse_kind(kind)
    found = [key for key in reader.keys() if (wanted is None or key.kind == wanted) and (not name or key.name == name)]
    if name and not found:
        raise reader.missing(wanted or "object", name)
    return sorted(found, key=lambda key: (list(Kind).index(key.kind), key.namespace, key.name))


def get(state: Path, kind: str, name: str, output: str, console: Console, *, watch: bool) -> int:
    """List objects."""
    writers: dict[str, Callable[[Reader, list[Key], Console], None]] = {
        "table": _get_table,
        "yaml": _get_yaml,
        "json": _get_json,
        "name": _get_names,
    }
    if output not in writers:
        raise ObjectMissing(f"-o {output}", "is not an output", f"known are {', '.join(writers)}")
    while True:
        reader = open_reader(state)
        writers[output](reader, _find_keys(reader, kind, name), console)
        if not watch:
            return ExitCode.OK
        time.sleep(_REFRESH_SECONDS)


def _get_table(reader: Reader, keys: list[Key], console: Console) -> None:
    if not keys:
        console.print("no objects; plumbline run -f FILE makes some")
        return
    console.print(objects_table((key, reader.status(key)) for key in keys))


def _as_data(reader: Reader, key: Key) -> dict[str, object]:
    return {**reader.object(key).dump(), "status": reader.status(key).dump()}


def _get_yaml(reader: Reader, keys: list[Key], console: Console) -> None:
    documents = [_as_data(reader, key) for key in keys]
    console.out(write_yaml(documents), end="", highlight=False)


def _get_json(reader: Reader, keys: list[Key], console: Console) -> None:
    items = [_as_data(reader, key) for key in keys]
    data = items[0] if len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}
    console.out(json.dumps(data, indent=2, ensure_ascii=False), highlight=False)


def _get_names(reader: Reader, keys: list[Key], console: Console) -> None:
    for key in keys:
        console.out(f"{SHORT_NAMES[key.kind]}/{key.name}", highlight=False)


def _one_key(kind: str, namespace: str, name: str) -> Key:
    full = parse_kind(kind)
    if full == CONFIG_MAP:
        raise ObjectMissing(f"{full} {name}", "has no status", "look into its manifest")
    return Key(Kind(full), namespace, name)


def describe(state: Path, kind: str, namespace: str, name: str, console: Console) -> int:
    """Everything that is known of one object."""
    reader = open_reader(state)
    key = _one_key(kind, namespace, name)
    reader.object(key)
    status = reader.status(key)
    console.print(f"Name:   {key.name}\nKind:   {key.kind}\nPhase:  {status.phase}\nFile:   {reader.record(key).file}")
    console.print("Conditions:")
    for condition in status.conditions:
        line = f"  {condition.type}={condition.status}  {condition.reason}  {condition.message}"
        console.print(line, soft_wrap=True, markup=False)
    for line in _details(status):
        console.print(line, soft_wrap=True, markup=False)
    if isinstance(status, EvalGateStatus):
        _describe_gate(reader, key, status, console)
    console.print("Events:")
    for line in _event_lines(reader, key):
        console.print(f"  {line}", soft_wrap=True, markup=False)
    return ExitCode.OK


def _details(status: PlumblineStatus) -> Iterator[str]:
    if isinstance(status, AlignmentRunStatus):
        yield from (f"Input:  {found.name}  {found.digest}" for found in status.inputs)
        for row in status.stages:
            took = (
                f" in {span((row.completion_time - row.start_time).total_seconds())}"
                if row.start_time and row.completion_time
                else ""
            )
            progress = f"  {numbers(row.progress)}" if row.progress else ""
            yield f"Stage:  {row.name} ({row.type})  {row.state}{took}{progress}  {row.message}"
        if status.output:
            yield f"Output: {status.output}"
    if isinstance(status, GuardedInferenceStatus) and status.stable is not None:
        yield f"Serving: {status.stable.digest} at {status.stable.endpoint or 'no address yet'}"


def _describe_gate(reader: Reader, key: Key, status: EvalGateStatus, console: Console) -> None:
    console.print(f"Verdict: {status.verdict or 'none yet'}   Subject: {status.subject or '-'}")
    if status.rows:
        console.print(rules_table(status.rows))
    for item in status.evidence:
        console.print(f"Evidence: {item.suite} ({item.role})  report {item.report}", soft_wrap=True, markup=False)
    for advice in status.advice:
        console.print(f"Try:    {advice}", soft_wrap=True, markup=False)
    for suite in dict.fromkeys(row.suite for row in status.rows):
        seen = reader.status(Key(Kind.RED_TEAM_SUITE, key.namespace, suite))
        executions = {found.subject: found for found in reversed(getattr(seen, "executions", ()))}
        if status.subject in executions:
            console.print(rates_table(executions.get(status.baseline or ""), executions[status.subject]))


def _event_lines(reader: Reader, key: Key) -> Iterator[str]:
    for event in reader.events(key):
        times = f" (x{event.count})" if event.count > 1 else ""
        yield f"{format_time(event.last_time)}  {event.type}  {event.reason}  {event.message}{times}"


def events(state: Path, kind: str, name: str, console: Console) -> int:
    """What happened, oldest first, over all objects asked for."""
    reader = open_reader(state)
    lines = [
        (line, SHORT_NAMES[key.kind], key.name)
        for key in _find_keys(reader, kind, name)
        for line in _event_lines(reader, key)
    ]
    for line, short, owner in sorted(lines):
        when, rest = line.split("  ", 1)
        console.print(f"{when}  {short}/{owner}  {rest}", soft_wrap=True, markup=False)
    return ExitCode.OK


def logs(
    state: Path, kind: str, namespace: str, name: str, container: str, tail: int, console: Console, *, follow: bool
) -> int:
    """Print logs, each under a line that says whose it is; with `follow` the newest goes on."""
    reader = open_reader(state)
    key = _one_key(kind, namespace, name)
    reader.object(key)
    found = [log for log in reader.logs(key) if not container or log.container == container]
    if not found:
        console.print(f"{key.kind} {key.name} has no logs yet", style="dim")
        return ExitCode.OK
    for log in found:
        console.print(f"==> {log.child} attempt {log.attempt}, {log.container} <==", style="dim", markup=False)
        text = log.path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()[-tail:] if tail else text.splitlines()
        for line in lines:
            console.out(line, highlight=False)
    if follow:
        _follow(found[-1], console)
    return ExitCode.OK


def _follow(log: LogFile, console: Console) -> None:
    with log.path.open(encoding="utf-8", errors="replace") as source:
        source.seek(0, 2)
        while True:
            line = source.readline()
            if line:
                console.out(line.rstrip("\n"), highlight=False)
            else:
                time.sleep(0.2)


def lineage(state: Path, subject: str, namespace: str, name: str, console: Console) -> int:
    """Print the tree of what an artifact was made from."""
    reader = open_reader(state)
    digest = subject if subject.startswith("sha256:") else _digest_of(reader, _one_key(subject, namespace, name))
    return lineage_in(reader.store_uri, digest, console)


def lineage_in(store: str, digest: str, console: Console) -> int:
    """The same for an artifact of any store."""
    if not digest.startswith("sha256:"):
        raise ObjectMissing(f"{digest} in {store}", "is not in a store, which knows digests alone", "write sha256:...")
    found = open_store(store).lineage(digest)
    console.print(_tree(found, None), soft_wrap=True)
    return ExitCode.OK if all(item.presence == Presence.PRESENT for _, item in found.walk()) else ExitCode.BAD_DATA


def _digest_of(reader: Reader, key: Key) -> str:
    reader.object(key)
    status = reader.status(key)
    digest: str | None = None
    if isinstance(status, AlignmentRunStatus):
        digest = status.output
    elif isinstance(status, EvalGateStatus):
        digest = status.subject
    elif isinstance(status, GuardedInferenceStatus) and status.stable is not None:
        digest = status.stable.digest
    if digest is None:
        raise ObjectMissing(f"{key.kind} {key.name}", "has no model yet", "wait for its end, or name a digest")
    return digest


def _tree(item: Lineage, parent: Tree | None) -> Tree:
    kind = item.manifest.media_type.split(".")[-2] if item.manifest else str(item.presence)
    size = f", {item.manifest.size:,} bytes" if item.manifest else ""
    label = f"{item.role + ': ' if item.role else ''}{kind} {item.digest}{size}"
    tree = Tree(label, highlight=False) if parent is None else parent.add(label)
    for above in item.parents:
        _tree(above, tree)
    return tree


def version(console: Console) -> int:
    """Print the installed version."""
    console.print(f"plumbline {installed_version('plumbline-operator')}")
    return ExitCode.OK
