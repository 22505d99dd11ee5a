"""`plumbline bundle`: is what was carried here whole and from whom it should be, and bring it into the registry."""

from pathlib import Path
from typing import Annotated

import typer

from plumbline_operator.bundle.accounts import PASSWORD, USER
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
    from plumbline_operator.cli import carrying

    return carrying.verify(carrying.Carried(folder, key, allow_unsigned))


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
    from plumbline_operator.cli import carrying

    where = carrying.Destination(registry, ca, authfile, user_from_env)
    carried = carrying.Carried(folder, key, allow_unsigned)
    return carrying.push(carried, where, caller_environment(), dry_run=dry_run)
