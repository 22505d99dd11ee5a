"""The command plumbline-guard: how it starts, what it refuses to start with, how it ends."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from plumbline_api.names import ExitCode
from tests.support.guards import policy_file
from tests.support.upstream import Script, running_upstream

pytestmark = pytest.mark.local

GUARD = str(Path(sys.executable).with_name("plumbline-guard"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def written_policy(folder: Path, **changes: Any) -> Path:
    path = folder / "policy.json"
    path.write_text(json.dumps({**policy_file().dump(), **changes}), encoding="utf-8")
    return path


def start(policy: Path, upstream: str = "http://127.0.0.1:9", port: int | str = 1) -> subprocess.CompletedProcess[str]:
    command = [GUARD, "--policy", str(policy), "--upstream", upstream, "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@asynccontextmanager
async def running(policy: Path, upstream: str, *more: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    port = free_port()
    command = [GUARD, "--policy", str(policy), "--upstream", upstream, "--port", str(port), *more]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert json.loads(await child.stdout.readline())["event"] == "listening"
    try:
        yield child, f"http://127.0.0.1:{port}"
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_told_to_stop_it_finishes_what_is_at_work_and_takes_nothing_new(tmp_path: Path) -> None:
    script = Script(deltas=("one ", "two ", "three"), pause=0.3)
    async with running_upstream(script) as upstream, running(written_policy(tmp_path), upstream.url) as (child, url):
        async with aiohttp.ClientSession() as session:
            ask = {"model": "task-assistant", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            async with session.post(f"{url}/v1/chat/completions", json=ask) as response:
                await response.content.readany()
                child.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
                with pytest.raises(aiohttp.ClientConnectorError):
                    await session.get(f"{url}/healthz")
                rest = await response.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        assert await child.wait() == ExitCode.OK


async def test_a_guard_that_lingers_loses_no_request_of_those_who_do_not_know_yet(tmp_path: Path) -> None:
    script = Script(deltas=("one ", "two ", "three"), pause=0.05)
    policy = written_policy(tmp_path)
    async with (
        running_upstream(script) as upstream,
        running(policy, upstream.url, "--linger", "2", "--grace", "5") as (child, url),
    ):
        told = asyncio.Event()
        asking = [asyncio.create_task(keep_asking(url, told, kept=kept, stream=stream)) for kept, stream in KINDS]
        await asyncio.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        await asyncio.sleep(1.2)
        async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as ready:
            assert (ready.status, ready.headers["Connection"]) == (503, "close")
        ask = {"model": "task-assistant", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=ask) as stream:
            assert stream.headers["Connection"] == "close"
            assert (await stream.read()).endswith(b"data: [DONE]\n\n")
        told.set()
        answers = await asyncio.gather(*asking)
        assert await child.wait() == ExitCode.OK
    assert all(len(each) > 3 for each in answers)
    assert {answer for each in answers for answer in each} == {(200, True)}


KINDS = [(kept, stream) for kept in (True, False) for stream in (True, False)]


async def keep_asking(url: str, told: asyncio.Event, *, kept: bool, stream: bool) -> list[tuple[int, bool]]:
    """Status and completeness of every answer until told to end; over one connection if it is kept."""
    found = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=not kept)) as session:
        while not told.is_set():
            ask = {"model": "task-assistant", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
            async with session.post(f"{url}/v1/chat/completions", json=ask) as response:
                text = await response.text()
            found.append((response.status, "[DONE]" in text if stream else "three" in text))
    return found


async def test_an_answer_that_takes_longer_than_the_grace_is_broken_off(tmp_path: Path) -> None:
    script = Script(deltas=("one ", "two ", "three"), pause=3)
    async with (
        running_upstream(script) as upstream,
        running(written_policy(tmp_path), upstream.url, "--grace", "0.5") as (child, url),
        aiohttp.ClientSession() as session,
    ):
        ask = {"model": "task-assistant", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with session.post(f"{url}/v1/chat/completions", json=ask) as response:
            await response.content.readany()
            child.send_signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        assert await child.wait() == ExitCode.OK


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = start(written_policy(tmp_path), port=port)
    assert ended.returncode == ExitCode.UNAVAILABLE
    assert f"port {port} of 127.0.0.1" in ended.stderr


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        (
            {"rules": [{"id": "x", "appliesTo": ["Nowhere"], "phrases": ["abc"]}]},
            ExitCode.BAD_SPEC,
            "rules[0].appliesTo[0]",
        ),
        ({"unknown": 1}, ExitCode.BAD_SPEC, "unknown"),
        ({"maxTokens": "many"}, ExitCode.BAD_SPEC, "maxTokens"),
        ({"version": 2}, ExitCode.BAD_CONFIG, "version 2"),
        ({"rules": [{"id": "bad-one", "pattern": "a*"}]}, ExitCode.BAD_CONFIG, "rule bad-one"),
    ],
)
def test_a_policy_that_cannot_be_enforced_is_refused(tmp_path: Path, changes: Any, code: int, told: str) -> None:
    ended = start(written_policy(tmp_path, **changes))
    assert ended.returncode == code
    assert told in ended.stderr
    assert "policy.json" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_policy_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    assert start(tmp_path / "none.json").returncode == ExitCode.BAD_SPEC
    (tmp_path / "bad.json").write_text('{"version":\n oops}', encoding="utf-8")
    ended = start(tmp_path / "bad.json")
    assert (ended.returncode, "bad.json:2" in ended.stderr) == (ExitCode.BAD_SPEC, True)


@pytest.mark.parametrize(("upstream", "port"), [("ftp://x", 8000), ("http://x", "none"), ("http://x", 0)])
def test_a_bad_command_line_is_refused(tmp_path: Path, upstream: str, port: int | str) -> None:
    assert start(written_policy(tmp_path), upstream, port).returncode == ExitCode.BAD_SPEC


def test_a_never_pattern_that_holds_whole_answers_is_warned_of(tmp_path: Path) -> None:
    rule = {"id": "odd", "appliesTo": ["Output"], "pattern": "a(?#b)c", "emission": "Never"}
    with socket.socket() as taken:  # so that it ends at once
        taken.bind(("127.0.0.1", 0))
        ended = start(written_policy(tmp_path, rules=[rule]), port=taken.getsockname()[1])
    assert "streamed answers come in one piece" in ended.stderr
