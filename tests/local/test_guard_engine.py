"""The guard before the real engine: what a served pod is."""

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from tests.support.engine_process import make_talkative_model, running, store_model
from tests.support.guards import DEMAND, REFUSAL, RULES, RunningGuard, on_output, policy_file, running_guard

pytestmark = pytest.mark.local


@pytest.fixture
async def guard(tmp_path: Path) -> AsyncIterator[RunningGuard]:
    stored = store_model(make_talkative_model(tmp_path / "model"), tmp_path / "store")
    file = policy_file(*RULES, on_output(pattern=r"^[\s\S]{80}", rule_id="talkative"), system_prompt="Be brief.")
    with running(stored, tmp_path / "work") as engine:
        async with running_guard(file.model_copy(update={"subject": stored.digest}), engine.url) as started:
            assert (await started.get("/readyz"))[0] == 503, "the model can hardly have been loaded"
            engine.wait_until_ready()
            assert (await started.get("/readyz"))[0] == 200
            yield started


async def test_the_client_of_a_pod_gets_answers_streams_refusals_and_errors(guard: RunningGuard) -> None:
    async with openai.AsyncOpenAI(base_url=f"{guard.url}/v1", api_key="none", max_retries=0) as client:
        chat = client.chat.completions

        async def ask(text: str, limit: int) -> tuple[str | None, str]:
            reply = await chat.create(
                model="task-assistant", messages=[{"role": "user", "content": text}], max_tokens=limit, temperature=0
            )
            return reply.choices[0].message.content, reply.choices[0].finish_reason

        said, finish = await ask("hello", 3)
        assert (bool(said), finish) == (True, "length")
        stream = await chat.create(
            model="task-assistant",
            messages=[{"role": "user", "content": "hello"}],
            max_tokens=3,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == said
        assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [3]
        assert await ask(DEMAND, 3) == (REFUSAL, "content_filter")
        assert await ask("hello", 60) == (REFUSAL, "content_filter")
        with pytest.raises(openai.BadRequestError) as refused:
            await ask("long " * 600, 3)
        assert refused.value.code == "context_length_exceeded"
