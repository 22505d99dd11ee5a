"""`plumbline push`: the files that manifests name go into the store of a cluster, and a ConfigMap says which they are.

The operator reads that ConfigMap and never a file. Here both meet: the files are on this machine, and so is the right
to write into the store and into the namespace.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from plumbline_api.artifact import ArtifactRef
from plumbline_api.names import INPUTS_CONFIG_MAP, ExitCode
from plumbline_api.scalars import NamespaceName
from plumbline_operator.cli.errors import CommandError
from plumbline_operator.cli.manifests import read_manifests
from plumbline_operator.cli.namedfiles import NamedFile, check_one_meaning, find_files
from plumbline_operator.cli.publishing import Source, describe, publish, source_of, sources_of
from plumbline_operator.cli.signing import read_key, sign_all
from plumbline_operator.cli.tablefile import TableFile, manifests_of
from plumbline_operator.kube.api.errors import ApiError, Forbidden, Invalid, NotFound
from plumbline_operator.kube.api.login import LoginFailed
from plumbline_operator.kube.seen.inputs import BadTable, Table
from plumbline_operator.kube.tables import ServedTables
from plumbline_store import Store, open_store

__all__ = ["PushPlan", "push"]


@dataclass(frozen=True)
class PushPlan:
    """What `plumbline push` was asked to do."""

    files: Sequence[Path]
    store: str
    namespace: str
    """Empty where the credentials decide."""
    into: Path | None
    dry_run: bool
    apply: bool
    sign_with: Path | None = None
    """The private key to sign with; without it nothing is signed."""

    @property
    def keeps(self) -> bool:
        """Whether the tables are to be changed where they are kept, and not only printed."""
        return not self.dry_run and (self.apply or self.into is not None)


class Tables(Protocol):
    """Where the tables are kept: an API server, or a file."""

    @property
    def namespace(self) -> str:
        """Where objects go when nobody says otherwise."""

    def read(self, namespace: str) -> Table:
        """What a namespace knows."""

    def extend(self, namespace: str, entries: Table) -> Table:
        """Let a namespace know more; what it knew before."""


def push(plan: PushPlan, console: Console, words: Console) -> int:
    """Publish what the manifests name, and tell the cluster.

    Args:
        plan: What was asked for.
        console: For the manifest, where one is printed.
        words: For people.
    """
    _check(plan)
    # A wrong key is told before anything is published, too.
    key = read_key(plan.sign_with)
    located = read_manifests(plan.files)
    with _in_words():
        tables: Tables = ServedTables() if plan.into is None else TableFile(plan.into)
        namespace = plan.namespace or tables.namespace
        files = find_files(located, namespace, required=bool(plan.namespace))
        # Whatever cannot be reached is told before hours of copying, and not after.
        known = {one: tables.read(one) for one in sorted({file.namespace for file in files})}
    if not files:
        words.print("the manifests name no files: there is nothing to push")
        return ExitCode.OK
    store = open_store(plan.store)
    if not store.exists():
        words.print(f"{plan.store} is a new store", soft_wrap=True, markup=False)
    found = sources_of(files, store, words)
    check_one_meaning((file, found[source_of(file)].digest) for file in files)
    if plan.dry_run:
        _tell_plan(files, found, store, words)
    else:
        found = publish(files, found, store, words)
        sign_all(found.values(), store, key, words)
    entries = {one: _entries(files, found, one) for one in known}
    if plan.keeps:
        with _in_words():
            known = {one: tables.extend(one, entries[one]) for one in known}
    elif not plan.dry_run:
        merged = {one: {**before, **entries[one]} for one, before in known.items()}
        console.out(manifests_of(merged), end="", highlight=False)
    for one, before in known.items():
        _tell_table(one, before, entries[one], words)
    if plan.dry_run:
        words.print("nothing was changed")
    return ExitCode.OK


def _check(plan: PushPlan) -> None:
    """Refuse what is wrong with the options."""
    if not plan.store:
        remedy = "give the URI of the store that the pods use, as it is reached from here, or set PLUMBLINE_STORE"
        raise CommandError("--store", "no store is named", remedy, exit_code=ExitCode.BAD_SPEC)
    try:
        TypeAdapter(NamespaceName).validate_python(plan.namespace or "default")
    except ValidationError as error:
        fact = f"{plan.namespace!r} is no namespace's name"
        raise CommandError("--namespace", fact, "write a DNS label", exit_code=ExitCode.BAD_SPEC) from error


def _entries(files: Sequence[NamedFile], found: Mapping[Source, ArtifactRef], namespace: str) -> Table:
    """What a namespace should know of these files."""
    return {file.path: found[source_of(file)].digest for file in files if file.namespace == namespace}


def _tell_plan(files: Sequence[NamedFile], found: Mapping[Source, ArtifactRef], store: Store, words: Console) -> None:
    for source, ref in found.items():
        file = next(one for one in files if source_of(one) == source)
        word = "in the store already" if store.has(ref.digest) else "would be uploaded"
        words.print(describe(file, ref, word), soft_wrap=True, markup=False)


def _tell_table(namespace: str, before: Table, entries: Table, words: Console) -> None:
    new = [path for path in entries if path not in before]
    changed = [path for path, digest in entries.items() if before.get(path, digest) != digest]
    for path in changed:
        words.print(f"{path} was {before[path]}; runs that have begun keep that", soft_wrap=True, markup=False)
    kept = len(before.keys() | entries.keys()) - len(new) - len(changed)
    count = f"{len(new)} new, {len(changed)} changed, {kept} as they were"
    words.print(f"ConfigMap {INPUTS_CONFIG_MAP} of namespace {namespace}: {count}", soft_wrap=True, markup=False)


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what goes wrong with a table into a sentence and an exit code."""
    aside = "or keep the table in a file with --into, and apply that with kubectl"
    try:
        yield
    except LoginFailed as error:
        raise CommandError("API server", str(error), aside, exit_code=ExitCode.UNAVAILABLE) from error
    except BadTable as error:
        raise CommandError("--apply", str(error), "then push again", exit_code=ExitCode.BAD_DATA) from error
    except Forbidden as error:
        remedy = f"get a role with get, create and update on ConfigMaps there, {aside}"
        raise CommandError(str(error.call), error.fact, remedy, exit_code=ExitCode.NOT_PERMITTED) from error
    except NotFound as error:
        remedy = f"create it: kubectl create namespace {error.call.namespace}"
        raise CommandError(str(error.call), error.fact, remedy, exit_code=ExitCode.BAD_SPEC) from error
    except Invalid as error:
        remedy = "remove entries that nobody needs, or make the ConfigMap mutable"
        raise CommandError(str(error.call), error.fact, remedy, exit_code=ExitCode.BAD_DATA) from error
    except ApiError as error:
        remedy = "see that the server in KUBECONFIG is reached from here, then push again"
        raise CommandError(str(error.call), error.fact, remedy, exit_code=ExitCode.UNAVAILABLE) from error
