"""What the commands of `plumbline bundle` do. Loaded when one of them is called, for it brings a library of ciphers."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from plumbline_operator.bundle.accounts import Account, account_from_environment, account_from_files
from plumbline_operator.bundle.files import VALUES, read_sums
from plumbline_operator.bundle.push import Pushed, push_image
from plumbline_operator.bundle.registry import Registry
from plumbline_operator.bundle.signature import fingerprint, read_public_key
from plumbline_operator.bundle.target import Target, parse_target, trust_of
from plumbline_operator.bundle.verify import Bundle, Trust
from plumbline_operator.bundle.verify import verify as do_verify
from plumbline_operator.cli.meter import Meter

__all__ = ["Carried", "Destination", "push", "verify"]


@dataclass(frozen=True)
class Carried:
    """A bundle on this machine."""

    folder: Path
    key: Path | None
    """Public key of whoever should have signed it."""
    allow_unsigned: bool


@dataclass(frozen=True)
class Destination:
    """Where its images go."""

    registry: str
    ca: Path | None
    authfile: Path | None
    user_from_env: bool


def verify(carried: Carried) -> int:
    """Check it, and print what is in it; gives the exit code. Raises BundleError."""
    bundle = _verified(carried)
    console = Console(highlight=False, soft_wrap=True)
    for image in bundle.images:
        console.print(f"{image.needed.name} {image.manifest.digest}")
    console.print(_summary(bundle, carried))
    return 0


def push(carried: Carried, where: Destination, environment: Mapping[str, str], *, dry_run: bool) -> int:
    """Check it, and send what the registry does not have; gives the exit code. Raises BundleError."""
    target, trust = parse_target(where.registry), trust_of(where.ca)
    if where.user_from_env:
        account: Account | None = account_from_environment(environment)
    else:
        account = account_from_files(target.registry, where.authfile, environment)
    bundle = _verified(carried)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(_summary(bundle, carried))
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


def _verified(carried: Carried) -> Bundle:
    trust = Trust(read_public_key(carried.key) if carried.key else None, carried.allow_unsigned)
    _, sums = read_sums(carried.folder)
    total = sum(path.stat().st_size for path in map(carried.folder.joinpath, sums) if path.is_file())
    with Meter(Console(stderr=True, highlight=False), "verify", total) as meter:
        return do_verify(carried.folder, trust, meter.add)


def _summary(bundle: Bundle, carried: Carried) -> str:
    whole = f"{bundle.folder} is whole: version {bundle.version}, {len(bundle.images)} images, {bundle.files} files, "
    size = f"{bundle.size / 1e6:.1f} MB, "
    if carried.key is None or not bundle.signed:
        return f"{whole}{size}NOT SIGNED by anybody whose key was given"
    return f"{whole}{size}signed by {carried.key} ({fingerprint(read_public_key(carried.key))})"
