"""What the engine's command line refuses, before anything heavy is loaded."""

from pathlib import Path

import pytest

from plumbline_trainer.engine.main import main
from plumbline_trainer.engine.settings import SettingsError, read_settings

DIGEST = "sha256:" + "0" * 64
GOOD = ["--model", "file:///store", "--digest", DIGEST, "--work", "/w", "--port", "8000"]


def test_the_defaults_listen_on_loopback() -> None:
    settings = read_settings(GOOD)
    assert (settings.host, settings.port, settings.work) == ("127.0.0.1", 8000, Path("/w"))


def test_store_and_digest_may_come_as_one() -> None:
    settings = read_settings(["--model", f"file:///store@{DIGEST}", "--work", "/w", "--port", "0"])
    assert (settings.store, settings.digest) == ("file:///store", DIGEST)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_addresses_are_accepted(host: str) -> None:
    assert read_settings([*GOOD, "--host", host]).host in {host, "127.0.0.1"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example", ""])  # noqa: S104
def test_any_other_address_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="--host"):
        read_settings([*GOOD, "--host", host])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--digest", "sha256:12"], "--digest"),
        (["--port", "70000"], "--port"),
        (["--threads", "0"], "--threads"),
        (["--max-batch", "-1"], "--max-batch"),
        (["--port", "x"], "--port"),
        (["--unknown"], "--unknown"),
    ],
)
def test_a_bad_option_is_named(arguments: list[str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings([*GOOD, *arguments])


def test_a_refused_command_line_ends_with_78() -> None:
    with pytest.raises(SystemExit) as ended:
        main([*GOOD, "--host", "0.0.0.0"])  # noqa: S104
    assert ended.value.code == 78
