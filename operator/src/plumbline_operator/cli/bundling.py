"""`plumbline bundle`: is what was carried here whole and from whom it should be, and bring it into the registry."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from plumbline_operator.bundle.accounts import (
    PASSWORD,
    USER,
    Account,
    account_from_environment,
    account_from_files,
)
from plumbline_operator.bundle.files import VALUES, read_sums
from plumbline_operator.bundle.push import Pushed, push_image
from plumbline_operator.bundle.registry import Registry
from plumbline_operator.bundle.signature import fingerprint, read_public_key
from plumbline_operator.bundle.target import Target, parse_target, trust_of
from plumbline_operator.bundle.verify import Bundle, Trust
from plumbline_operator.bundle.verify import verify as do_verify
from plumbline_operator.cli.meter import Meter
from plumbline_operator.cli.settings import caller_environment

__all__ = ["build_bundle_app"]

_HELP = """Check and import a bundle for a site without the internet.

Exit codes: 0 done; 64 an argument is wrong; 65 the bundle is damaged; 69 the registry cannot be reached; 77 the
signature is bad or missing, or the registry refuses the account; 78 the registry is not trusted.
"""

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the bundle.")]
Key = Annotated[
    Path | None, typer.Option(envvar="PLUMBLINE_BUNDLE_KEY", help="Public key of whoever signs bundles, a PEM file.")
]
AllowUnsigned = Annotated[bool, typer.Option("--allow-unsigned", help="Take a bundle that nobody vouches for.")]


def build_bundle_app() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    app.command()(verify)
    app.command()(push)
    return app


def verify(folder: Folder, key: Key = None, *, allow_unsigned: AllowUnsigned = False) -> int:
    """Check signature, every file, and that every image is there that the chart can use."""
    bundle = _verified(folder, key, allow_unsigned=allow_unsigned)
    console = Console(highlight=False, soft_wrap=True)
    for image in bundle.images:
        console.print(f"{image.needed.name} {image.manifest.digest}")
    console.print(_summary(bundle, key))
    return 0


def push(
    folder: Folder,
    registry: Annotated[str, typer.Argument(help="HOST, HOST:PORT or HOST:PORT/PATH; over HTTPS.")],
    key: Key = None,
    ca: Annotated[Path | None, typer.Option(help="The authority of the registry's certificate, a PEM file.")] = None,
    authfile: Annotated[Path | None, typer.Option(help="Logins as docker, podman and skopeo keep them.")] = None,
    *,
    user_from_env: Annotated[bool, typer.Option("--user-from-env", help=f"The account of {USER}, {PASSWORD}.")] = False,
    allow_unsigned: AllowUnsigned = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
) -> int:
    """Verify a bundle, and bring its images into a registry. Safe to repeat: what is there is not sent again."""
    target, trust, environment = parse_target(registry), trust_of(ca), caller_environment()
    if user_from_env:
        account: Account | None = account_from_environment(environment)
    else:
        account = account_from_files(target.registry, authfile, environment)
    bundle = _verified(folder, key, allow_unsigned=allow_unsigned)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(_summary(bundle, key))
    repositories = [target.repository(image.needed.repository) for image in bundle.images]
    asyncio.run(_push(bundle, target, Registry(target, account, trust, repositories), console, dry_run=dry_run))
    typer.echo(_install(bundle, target))
    return 0


async def _push(bundle: Bundle, target: Target, registry: Registry, console: Console, *, dry_run: bool) -> None:
    held: dict[str, str] = {}
    async with registry:
        for number, image in enumerate(bundle.images, 1):
            name = f"{image.needed.name} ({number} of {len(bundle.images)})"
            with Meter(console, name, sum(part.size for part in image.parts)) as meter:
                done = await push_image(registry, target, bundle, image, held, meter.add, dry_run=dry_run)
            console.print(f"{name}: {_outcome(done, dry_run=dry_run)}")


def _outcome(done: Pushed, *, dry_run: bool) -> str:
    if not done.sent and not done.mounted:
        return "is there"
    size = sum(part.size for part in done.sent) / 1e6
    sent = f"{len(done.sent)} files, {size:.1f} MB, {'would be sent' if dry_run else 'sent'}"
    taken = f", {done.mounted} taken over from other images" if done.mounted else ""
    return f"{sent}{taken}, {done.there} were there"


def _install(bundle: Bundle, target: Target) -> str:
    """The command that comes next."""
    values = f"-f {bundle.folder / VALUES} --set global.imageRegistry={target.registry}"
    return f"helm install plumbline {bundle.chart} -n plumbline --create-namespace {values}"


def _verified(folder: Path, key: Path | None, *, allow_unsigned: bool) -> Bundle:
    trust = Trust(read_public_key(key) if key else None, allow_unsigned)
    _, sums = read_sums(folder)
    total = sum(path.stat().st_size for path in map(folder.joinpath, sums) if path.is_file())
    with Meter(Console(stderr=True, highlight=False), "verify", total) as meter:
        return do_verify(folder, trust, meter.add)


def _summary(bundle: Bundle, key: Path | None) -> str:
    whole = f"{bundle.folder} is whole: version {bundle.version}, {len(bundle.images)} images, {bundle.files} files, "
    size = f"{bundle.size / 1e6:.1f} MB, "
    if key is None or not bundle.signed:
        return f"{whole}{size}NOT SIGNED by anybody whose key was given"
    return f"{whole}{size}signed by {key} ({fingerprint(read_public_key(key))})"
