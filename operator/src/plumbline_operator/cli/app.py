"""The command line: what each command takes and says. The work is done by the session and the modules beside this one.

Commands that change something hold the state directory's lock; the others read beside a running one.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from plumbline_operator.cli import operating, reading, signing, working
from plumbline_operator.cli.bundling import build_bundle_app
from plumbline_operator.cli.manifests import load_manifests
from plumbline_operator.cli.settings import caller_environment

__all__ = ["build_app"]

_HELP = """Align language models declaratively: train, attack, judge and serve what manifests say.

Exit codes: 0 done; 1 everything worked and the answer is no (a gate did not pass); 64 a manifest or argument is wrong;
65 data is wrong; 69 something needed is unavailable; 70 internal; 75 stopped, run again to go on; 77 not permitted;
78 the installation is wrong.
"""

Files = Annotated[
    list[Path], typer.Option("-f", "--filename", help="A manifest, or a folder of manifests; may be repeated.")
]
State = Annotated[
    Path,
    typer.Option(envvar="PLUMBLINE_STATE", help="Where objects, logs and the artifact store are kept."),
]
Kind = Annotated[str, typer.Argument(help="alr, rts, egt, gin or cm (or the full name).")]
Name = Annotated[str, typer.Argument(help="Name of the object.")]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the object.")]
Trust = Annotated[
    list[Path] | None,
    typer.Option("--trust", help="A public key; only what one of them signed is used. May be repeated."),
]
SignWith = Annotated[
    Path | None,
    typer.Option(help="The private key: signs the files that are read, and stands for the Secret of output.sign."),
]

_STATE = Path(".plumbline")


def build_app() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        help=_HELP, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    for command in (
        run,
        serve,
        validate,
        get,
        describe,
        logs,
        events,
        delete,
        retry,
        lineage,
        push,
        sign,
        verify,
        operator,
        version,
    ):
        app.command()(command)
    app.add_typer(build_bundle_app(), name="bundle")
    return app


def run(
    filename: Files,
    state: State = _STATE,
    *,
    dry_run: Annotated[bool, typer.Option(help="Say what would be done; change nothing.")] = False,
    replace: Annotated[bool, typer.Option(help="Make runs anew whose manifest or data changed.")] = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait where another plumbline works on the state; 0 refuses at once.")
    ] = 0.0,
    smoke: Annotated[
        str,
        typer.Option(help="A command to run while what passed is being served; it finds PLUMBLINE_ENDPOINT set."),
    ] = "",
    trust: Trust = None,
    sign_with: SignWith = None,
) -> int:
    """Do what the manifests say, and show how it goes. Safe to repeat and to kill at any moment."""
    console = _console()
    if dry_run:
        return working.dry_run(load_manifests(filename, reading.existing(state)), console)
    keys = working.Keys(trust or (), sign_with)
    plan = working.RunPlan(files=filename, state=state, replace=replace, wait=wait, smoke=smoke, keys=keys)
    return working.run(plan, caller_environment(), console)


def serve(
    name: Name,
    state: State = _STATE,
    namespace: Namespace = "default",
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the guard on 127.0.0.1; 0 takes a free one.")
    ] = 8080,
    wait: Annotated[float, typer.Option(help="Seconds to wait for another plumbline to leave the state.")] = 0.0,
    trust: Trust = None,
) -> int:
    """Keep a guarded model up until Ctrl-C. What its gate did not let pass is refused."""
    keys = working.Keys(trust or ())
    return working.serve(namespace, name, state, port or None, wait, keys, caller_environment(), _console())


def validate(filename: Files, state: State = _STATE) -> int:
    """Check manifests: every problem with file, line, field and the nearest valid name."""
    found = load_manifests(filename, reading.existing(state))
    _console().print(f"{len(found)} objects are in order")
    return 0


def get(
    kind: Annotated[str, typer.Argument(help="alr, rts, egt, gin, cm, or all.")] = "all",
    name: Annotated[str, typer.Argument(help="Only this object.")] = "",
    state: State = _STATE,
    *,
    output: Annotated[str, typer.Option("-o", "--output", help="table, yaml, json or name.")] = "table",
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on showing changes until Ctrl-C.")] = False,
) -> int:
    """List objects with their phase."""
    return reading.get(state, kind, name, output, _console(), watch=watch)


def describe(kind: Kind, name: Name, state: State = _STATE, namespace: Namespace = "default") -> int:
    """Show conditions, stages, verdict rows, advice and events of one object."""
    return reading.describe(state, kind, namespace, name, _console())


def logs(
    kind: Kind,
    name: Name,
    state: State = _STATE,
    namespace: Namespace = "default",
    *,
    container: Annotated[str, typer.Option("-c", "--container", help="Only this container.")] = "",
    tail: Annotated[int, typer.Option(help="Only so many last lines of each log; 0 shows all.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with the newest log until Ctrl-C.")] = False,
) -> int:
    """Print what the Jobs or the served pod of an object printed."""
    return reading.logs(state, kind, namespace, name, container, tail, _console(), follow=follow)


def events(
    kind: Annotated[str, typer.Argument(help="Only this kind.")] = "all",
    name: Annotated[str, typer.Argument(help="Only this object.")] = "",
    state: State = _STATE,
) -> int:
    """List what happened, oldest first."""
    return reading.events(state, kind, name, _console())


def delete(
    kind: Annotated[str, typer.Argument(help="Kind of the object.")] = "",
    name: Annotated[str, typer.Argument(help="Name of the object.")] = "",
    filename: Annotated[list[Path] | None, typer.Option("-f", "--filename", help="All objects of these files.")] = None,
    state: State = _STATE,
    namespace: Namespace = "default",
    *,
    wait: Annotated[float, typer.Option(help="Seconds to wait for another plumbline to leave the state.")] = 0.0,
) -> int:
    """End what runs for objects and remove them. Artifacts stay in the store."""
    if bool(filename) == bool(kind and name):
        raise typer.BadParameter("give KIND and NAME, or -f FILE")
    targets = working.targets(filename or [], kind, namespace, name)
    return working.delete(targets, state, wait, caller_environment(), _console())


def retry(
    kind: Kind,
    name: Name,
    state: State = _STATE,
    namespace: Namespace = "default",
    *,
    wait: Annotated[float, typer.Option(help="Seconds to wait for another plumbline to leave the state.")] = 0.0,
    trust: Trust = None,
    sign_with: SignWith = None,
) -> int:
    """Try a failed run or gate again, and wait for the end."""
    keys = working.Keys(trust or (), sign_with)
    return working.retry(kind, namespace, name, state, wait, keys, caller_environment(), _console())


def lineage(
    subject: Annotated[str, typer.Argument(help="A digest (sha256:...), or a kind: alr, egt, gin.")],
    name: Annotated[str, typer.Argument(help="Name of the object, after a kind.")] = "",
    state: State = _STATE,
    namespace: Namespace = "default",
    store: Annotated[str, typer.Option(help="URI of another store than that of --state; then give a digest.")] = "",
) -> int:
    """Show what a model was made of, back to the data."""
    if store:
        return reading.lineage_in(store, subject, _console())
    return reading.lineage(state, subject, namespace, name, _console())


def push(
    filename: Files,
    store: Annotated[
        str, typer.Option(envvar="PLUMBLINE_STORE", help="URI of the store that the pods use, as reached from here.")
    ] = "",
    namespace: Annotated[
        str, typer.Option("-n", "--namespace", help="Of objects that name none [default: that of KUBECONFIG].")
    ] = "",
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Write the ConfigMap to the API server.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Write it to this file instead, without any API server: for a git repository.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    sign_with: Annotated[Path | None, typer.Option(help="Sign what is published with this private key.")] = None,
) -> int:
    """Bring the files that manifests name into a cluster's store. Safe to repeat: what is there is not sent again.

    A cluster finds such files by ConfigMap plumbline-inputs of the objects' namespace. Without --apply or --into it is
    printed, with the entries that are there already, for `kubectl apply -f -`.
    """
    from plumbline_operator.cli.pushing import PushPlan
    from plumbline_operator.cli.pushing import push as do_push

    if apply and into is not None:
        raise typer.BadParameter("give --apply or --into, not both")
    plan = PushPlan(filename, store, namespace, into, dry_run=dry_run, apply=apply, sign_with=sign_with)
    return do_push(plan, _console(), _console(stderr=not apply and into is None))


Artifact = Annotated[str, typer.Argument(metavar="DIGEST", help="The artifact: sha256:...")]
Store = Annotated[str, typer.Option(envvar="PLUMBLINE_STORE", help="URI of the store that holds it.")]


def sign(
    digest: Artifact,
    store: Store,
    key: Annotated[Path | None, typer.Option(help="The private key: PEM, EC P-256, without a password.")] = None,
    signature: Annotated[
        Path | None, typer.Option(help="A signature that was made elsewhere, by model_signing; instead of a key.")
    ] = None,
) -> int:
    """Vouch for a model, an adapter or a data set in a store, after reading all of it."""
    if (key is None) == (signature is None):
        raise typer.BadParameter("give --key or --signature, not both")
    return signing.sign(digest, store, key, signature, _console())


def verify(
    digest: Artifact,
    store: Store,
    trust: Annotated[list[Path], typer.Option("--trust", help="A public key; one of them must have signed it.")],
) -> int:
    """Check that an artifact is whole, and that a trusted key has signed exactly its files."""
    return signing.verify(digest, store, trust, _console())


def operator(
    pods: Annotated[
        str | None,
        typer.Option(envvar="PLUMBLINE_PODS", help="JSON file (or its text) about pods: images by digest, store ..."),
    ] = None,
    store: Annotated[str | None, typer.Option(envvar="PLUMBLINE_STORE", help="URI of the artifact store.")] = None,
    namespace: Annotated[
        list[str] | None, typer.Option("-n", "--namespace", help="Watch this one; may be repeated. All without.")
    ] = None,
    lease_namespace: Annotated[
        str | None,
        typer.Option(envvar="PLUMBLINE_LEASE_NAMESPACE", help="Several replicas: where their lease is."),
    ] = None,
    lease_name: Annotated[
        str | None, typer.Option(envvar="PLUMBLINE_LEASE_NAME", help="The lease [default: plumbline-operator].")
    ] = None,
    identity: Annotated[
        str | None, typer.Option(envvar="PLUMBLINE_IDENTITY", help="This replica, for example its pod's name.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(envvar="PLUMBLINE_PORT", help="Of /metrics, /healthz, /readyz [default: 8080].")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(envvar="PLUMBLINE_WORKERS", help="Objects worked on at a time [default: 48].")
    ] = None,
    resync: Annotated[
        float | None, typer.Option(envvar="PLUMBLINE_RESYNC", help="Seconds between looks at all [default: 600].")
    ] = None,
    log_level: Annotated[
        str, typer.Option(envvar="PLUMBLINE_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> int:
    """Run the operator of a Kubernetes cluster until SIGTERM; credentials as kubectl has them, or the pod's own."""
    flags = {
        "pods": pods,
        "store": store,
        "namespaces": tuple(namespace) if namespace else None,
        "lease_namespace": lease_namespace,
        "lease_name": lease_name,
        "identity": identity,
        "port": port,
        "workers": workers,
        "resync": resync,
    }
    return operating.operate(flags, log_level, caller_environment())


def version() -> int:
    """Print the version."""
    return reading.version(_console())


def _console(*, stderr: bool = False) -> Console:
    """A console; where nobody's terminal says how wide it is, wide enough for the tables."""
    console = Console(highlight=False, stderr=stderr)
    return console if console.is_terminal else Console(highlight=False, stderr=stderr, width=160)
