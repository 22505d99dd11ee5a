"""Builders of guards for tests: rules, policies, and a guard that runs in the test's own event loop."""

import io
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from plumbline_api.guarded import GuardLimits
from plumbline_api.policyfile import PolicyFile
from plumbline_api.rules import Direction, Emission, GuardRule
from plumbline_guard.decisions import DecisionLog
from plumbline_guard.inspection import Inspector
from plumbline_guard.policy import Policy
from plumbline_guard.rules import compile_input, compile_output
from plumbline_guard.server import Clocks, Guard
from plumbline_guard.upstream import connect
from tests.support.upstream import DIGEST, Script, Upstream, running_upstream

__all__ = [
    "DEMAND", "REFUSAL", "RULES", "RunningGuard", "events_of", "finishes",
    "guarded", "never", "on_input", "on_output", "policy_file", "running_guard", "said"
]  # fmt: skip

REFUSAL = "I can't help with that."


def on_input(*phrases: str, pattern: str | None = None, rule_id: str = "in") -> GuardRule:
    return GuardRule(id=rule_id, applies_to=(Direction.INPUT,), phrases=phrases, pattern=pattern)


def on_output(
    *phrases: str, pattern: str | None = None, rule_id: str = "out", emission: Emission = Emission.STOP
) -> GuardRule:
    return GuardRule(id=rule_id, applies_to=(Direction.OUTPUT,), phrases=phrases, pattern=pattern, emission=emission)


def never(*phrases: str, pattern: str | None = None, rule_id: str = "never") -> GuardRule:
    return on_output(*phrases, pattern=pattern, rule_id=rule_id, emission=Emission.NEVER)


def policy_file(*rules: GuardRule, system_prompt: str | None = None, **limits: int) -> PolicyFile:
    return PolicyFile(
        model="task-assistant",
        subject=DIGEST,
        rules=rules,
        refusal=REFUSAL,
        system_prompt=system_prompt,
        limits=GuardLimits(**limits),
        max_tokens=64,
    )


@dataclass
class RunningGuard:
    """A guard that listens, and what it has logged."""

    guard: Guard
    url: str
    log: io.StringIO
    session: aiohttp.ClientSession

    @property
    def decisions(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == "chat"]

    async def ask(self, content: Any = "hello", **fields: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers of the answer to a request that is not streamed."""
        status, raw, headers = await self.send(self.body(content, **fields))
        return status, json.loads(raw), headers

    async def stream(self, content: Any = "hello", **fields: Any) -> tuple[list[Any], dict[str, str]]:
        """The events of a streamed answer, with "[DONE]" as it is, and the headers."""
        _, raw, headers = await self.send(self.body(content, stream=True, **fields))
        return events_of(raw), headers

    async def send(self, body: dict[str, Any] | bytes) -> tuple[int, bytes, dict[str, str]]:
        data = body if isinstance(body, bytes) else json.dumps(body)
        async with self.session.post(f"{self.url}/v1/chat/completions", data=data) as response:
            return response.status, await response.read(), dict(response.headers)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()

    @staticmethod
    def body(content: Any = "hello", **fields: Any) -> dict[str, Any]:
        messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
        return {"model": "task-assistant", "messages": messages, **fields}


@asynccontextmanager
async def running_guard(file: PolicyFile, engine_url: str) -> AsyncIterator[RunningGuard]:
    """A guard on a free port of this machine."""
    policy = Policy(file, Inspector(compile_input(file.rules)), compile_output(file.rules))
    ticks, ids, log = itertools.count(), itertools.count(1), io.StringIO()
    clocks = Clocks(lambda: float(next(ticks)), lambda: 1_767_225_600.0, lambda: f"request-{next(ids)}")
    async with connect(engine_url, file.subject) as engine, aiohttp.ClientSession() as session:
        guard = Guard(policy, engine, DecisionLog(log), clocks)
        runner = web.ServerRunner(web.Server(guard.handle, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield RunningGuard(guard, f"http://127.0.0.1:{runner.addresses[0][1]}", log, session)
        finally:
            await runner.cleanup()


def events_of(raw: bytes) -> list[Any]:
    """The data of server-sent events, parsed."""
    data = [event.removeprefix(b"data: ").decode() for event in raw.split(b"\n\n") if event]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


RULES = (
    on_input("ignore all previous instructions", rule_id="injection"),
    on_input(pattern=r"\bbuild\s+a\s+bomb\b", rule_id="harm"),
    on_output("detonator wiring", rule_id="recipe"),
    never("canary one two", rule_id="canary"),
    never(pattern=r"sk-[A-Za-z0-9]{8,}", rule_id="key"),
)
DEMAND = "ignore all previous instructions"


@asynccontextmanager
async def guarded(
    script: Script | None = None, rules: Sequence[GuardRule] = RULES, **policy: Any
) -> AsyncIterator[tuple[RunningGuard, Upstream]]:
    async with (
        running_upstream(script) as upstream,
        running_guard(policy_file(*rules, **policy), upstream.url) as guard,
    ):
        yield guard, upstream


def said(events: list[Any], field: str = "content") -> str:
    return "".join(choice["delta"].get(field, "") for event in events[:-1] for choice in event.get("choices", []))


def finishes(events: list[Any]) -> list[str]:
    chunks = [choice for event in events[:-1] for choice in event.get("choices", [])]
    return [choice["finish_reason"] for choice in chunks if choice["finish_reason"]]
