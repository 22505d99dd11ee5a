"""What the guard costs: its own work per request and per event, and the whole program between client and engine.

Times of the guard's work are CPU times, which a busy machine changes least. Printed with `-s`, as `make bench` runs it.
"""

import asyncio
import json
import os
import random
import statistics
import string
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from plumbline_api.policyfile import PolicyFile
from plumbline_api.rules import GuardRule
from plumbline_guard.answer import StreamedAnswer, guard_answer
from plumbline_guard.chat import parse_chat
from plumbline_guard.inspection import Inspector
from plumbline_guard.rules import compile_input, compile_output
from plumbline_guard.wording import Wording
from tests.support.flat_engine import EVENTS, SCRIPT
from tests.support.guards import RunningGuard, never, on_input, on_output, policy_file
from tests.support.upstream import answer_bytes

pytestmark = pytest.mark.bench

WORDING = Wording("chatcmpl-x", 1, "task-assistant", "no")
PROMPT = " ".join(random.Random(1).choices("please make a task to buy milk and call Ann on monday".split(), k=400))[
    :2000
]
SECRETS = (
    r"sk-[A-Za-z0-9]{20,}",
    r"\b\d{3}-\d{2}-\d{4}\b",
    r"[\w.+-]{1,64}@[\w-]{1,63}\.[a-z]{2,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
)


def many_rules() -> list[GuardRule]:
    """56 patterns and 1,000 phrases on input; as many on output, and 24 that may never be begun."""
    chance = random.Random(2)

    def word(letters: int) -> str:
        return "".join(chance.choices(string.ascii_lowercase, k=letters))

    def phrases(count: int) -> list[str]:
        return [f"{word(6)} {word(8)}" for _ in range(count)]

    patterns = [rf"\b{word(6)}\s+(?:all|any)\b[a-z ]{{0,40}}\b{word(7)}\b" for _ in range(56)]
    rules = [on_input(*phrases(1000), rule_id="in"), on_output(*phrases(1000), rule_id="out")]
    rules += [on_input(pattern=pattern, rule_id=f"in-{number}") for number, pattern in enumerate(patterns)]
    rules += [on_output(pattern=pattern, rule_id=f"out-{number}") for number, pattern in enumerate(patterns)]
    rules += [never(pattern=pattern, rule_id=f"secret-{number}") for number, pattern in enumerate(SECRETS)]
    return [*rules, never(*phrases(20), rule_id="canaries")]


def cpu_microseconds(work: Callable[[], object], times: int = 300) -> float:
    """CPU time of one call; the best of several series."""

    def series() -> float:
        began = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - began) / times * 1e6

    return min(series() for _ in range(5))


def test_the_guards_own_work_per_request_and_per_event() -> None:
    began = time.process_time()
    rules = many_rules()
    inspector, output = Inspector(compile_input(rules)), compile_output(rules)
    compiled = time.process_time() - began
    policy, body = policy_file(*rules), json.dumps(RunningGuard.body(PROMPT)).encode()
    answer = answer_bytes(SCRIPT)

    def judge_request() -> None:
        assert inspector.broken_rule(parse_chat(body, policy).texts) is None

    def judge_stream() -> None:
        streamed = StreamedAnswer(output, WORDING)
        for event in EVENTS:
            streamed.feed(event)
        assert streamed.over

    request = cpu_microseconds(judge_request)
    whole = cpu_microseconds(lambda: guard_answer(answer, output, WORDING))
    event = cpu_microseconds(judge_stream) / len(EVENTS)
    print(f"\nguard, {len(rules)} rules with 2,000 phrases, compiled in {compiled:.1f} s of CPU")  # noqa: T201
    print(f"  2 kB request {request:.0f} us, 0.4 kB answer {whole:.0f} us, streamed event {event:.1f} us of CPU")  # noqa: T201
    assert request + whole < 200
    assert event < 50


@contextmanager
def program(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program that runs meanwhile; its first line has been read into `first_line`."""
    child = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@contextmanager
def served(policy: PolicyFile, folder: Path) -> Iterator[tuple[int, int, int]]:
    """Ports of a flat engine and of a guard before it, and the guard's process id."""
    path = folder / "policy.json"
    path.write_text(policy.pretty(), encoding="utf-8")
    with program("-m", "tests.support.flat_engine") as engine:
        assert engine.stdout is not None
        port = int(engine.stdout.readline())
        given = ["--policy", str(path), "--upstream", f"http://127.0.0.1:{port}", "--port", str(port + 1)]
        log = (folder / "log").open("w")
        with log, subprocess.Popen([sys.executable, "-m", "plumbline_guard.main", *given], stdout=log) as guard:
            try:
                deadline = time.monotonic() + 60
                while '"ready"' not in (folder / "log").read_text():
                    assert guard.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                yield port, port + 1, guard.pid
            finally:
                guard.kill()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def latencies(port: int, count: int, *, stream: bool) -> list[float]:
    """Seconds of each of `count` requests, one after the other on one connection."""
    body = json.dumps(RunningGuard.body(PROMPT, stream=stream), separators=(",", ":")).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    taken = []
    async with connected(port) as (reader, writer):
        for _ in range(count):
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            if stream:
                await reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
            taken.append(time.perf_counter() - began)
    return taken


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, connections: int, each: int, *, stream: bool) -> float:
    """Requests per second over several connections."""
    began = time.perf_counter()
    await asyncio.gather(*(latencies(port, each, stream=stream) for _ in range(connections)))
    return connections * each / (time.perf_counter() - began)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads CPU times of another process from /proc")
@pytest.mark.parametrize("stream", [False, True])
async def test_the_program_between_a_client_and_an_engine(tmp_path: Path, *, stream: bool) -> None:
    each, connections = (20, 8) if stream else (100, 32)
    with served(policy_file(*many_rules()), tmp_path) as (engine, guard, pid):
        for port in (engine, guard):
            await latencies(port, 20, stream=stream)
        direct, through = [], []
        for _ in range(5):  # in turns, so that a busy moment hits both
            direct += await latencies(engine, each, stream=stream)
            through += await latencies(guard, each, stream=stream)
        before = cpu_seconds(pid)
        rate = await load(guard, connections, each, stream=stream)
        used = (cpu_seconds(pid) - before) / (connections * each)
    added = (statistics.median(through) - statistics.median(direct)) * 1e6
    kind = f"stream of {len(EVENTS)} events" if stream else "whole answer"
    print(f"\nguard program, {kind}: p50 +{added:.0f} us, {used * 1e6:.0f} us of CPU, {rate:.0f} requests/s")  # noqa: T201
    assert used < (0.02 if stream else 0.002)
