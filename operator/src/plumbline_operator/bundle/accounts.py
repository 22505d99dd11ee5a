"""The account at a registry: from two variables, or from the files in which docker, podman and skopeo keep logins."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError

__all__ = ["PASSWORD", "USER", "Account", "account_from_environment", "account_from_files"]

USER: Final = "PLUMBLINE_REGISTRY_USER"
PASSWORD: Final = "PLUMBLINE_REGISTRY_PASSWORD"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class Account:
    """Who we are to a registry."""

    user: str
    password: str = field(repr=False)


def account_from_environment(environment: Mapping[str, str]) -> Account:
    """The account of the two variables.

    Raises:
        BundleError: One of them is not set.
    """
    missing = [name for name in (USER, PASSWORD) if not environment.get(name)]
    if missing:
        remedy = "set both, or leave --user-from-env out to use docker's login"
        raise BundleError("--user-from-env", f"{' and '.join(missing)} not set", remedy, exit_code=ExitCode.BAD_SPEC)
    return Account(environment[USER], environment[PASSWORD])


def account_from_files(place: str, authfile: Path | None, environment: Mapping[str, str]) -> Account | None:
    """The account for `place` (a registry's host and perhaps a path); None where no file has one.

    Raises:
        BundleError: The file that was named is not there, or one cannot be read.
    """
    if authfile is not None and not authfile.is_file():
        remedy = "name the file of docker login, podman login or skopeo login"
        raise BundleError(authfile, "is not there", remedy, exit_code=ExitCode.BAD_SPEC)
    for path in [authfile] if authfile is not None else _files(environment):
        if path.is_file() and (found := _account(path, place)) is not None:
            return found
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where logins are kept, in the order of containers-auth.json(5)."""
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    home = environment.get("HOME", "/nonexistent")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers/auth.json")
    yield Path(environment.get("XDG_CONFIG_HOME") or f"{home}/.config", "containers/auth.json")
    yield Path(environment.get("DOCKER_CONFIG") or f"{home}/.docker", "config.json")


def _account(path: Path, place: str) -> Account | None:
    try:
        told = json.loads(path.read_bytes())
        entries: Mapping[str, Any] = told.get("auths", {})
        found = next((entries[key] for key in _keys(place) if entries.get(key, {}).get("auth")), None)
        if found is None:
            _complain_of_helper(path, told, place)
            return None
        user, _, password = base64.b64decode(found["auth"], validate=True).decode().partition(":")
    except (OSError, ValueError, AttributeError, binascii.Error) as error:
        remedy = "log in again, or name another file with --authfile"
        raise BundleError(path, "is no file of logins", remedy, exit_code=ExitCode.BAD_CONFIG) from error
    return Account(user, password)


def _complain_of_helper(path: Path, told: Mapping[str, Any], place: str) -> None:
    """Raise BundleError where no file but a program would have the login."""
    host = place.partition("/")[0]
    helper = told.get("credHelpers", {}).get(host) or (host in told.get("auths", {}) and told.get("credsStore"))
    if helper:
        fact = f"keeps the login of {host} in the program {helper}, which is not asked"
        remedy = f"set {USER} and {PASSWORD}, and use --user-from-env"
        raise BundleError(path, fact, remedy, exit_code=ExitCode.BAD_CONFIG)


def _keys(place: str) -> Iterator[str]:
    """Under which names a login may stand: the longest path first, docker's old form last."""
    parts = place.split("/")
    yield from ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    yield from (f"https://{parts[0]}{end}" for end in ("", "/", "/v1/", "/v2/"))
