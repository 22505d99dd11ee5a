"""`plumbline bundle`: is what was carried here whole and from whom it should be, and bring it into the registry."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from plumbline_operator.bundle.files import read_sums
from plumbline_operator.bundle.signature import fingerprint, read_public_key
from plumbline_operator.bundle.verify import Bundle, Trust
from plumbline_operator.bundle.verify import verify as do_verify
from plumbline_operator.cli.meter import Meter

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
    return app


def verify(folder: Folder, key: Key = None, *, allow_unsigned: AllowUnsigned = False) -> int:
    """Check signature, every file, and that every image is there that the chart can use."""
    bundle = _verified(folder, key, allow_unsigned=allow_unsigned)
    console = Console(highlight=False, soft_wrap=True)
    for image in bundle.images:
        console.print(f"{image.needed.name} {image.manifest.digest}")
    console.print(_summary(bundle, key))
    return 0


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
