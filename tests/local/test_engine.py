"""The command `plumbline-engine` as its users meet it: the openai client, health, errors, ports, signals."""

import asyncio
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.support.engine_process import (
    EngineProcess,
    Stored,
    engine_command,
    make_talkative_model,
    running,
    store_model,
)

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    root = tmp_path_factory.mktemp("engine")
    return store_model(make_talkative_model(root / "model"), root / "store")


@pytest.fixture(scope="module")
def engine(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with running(stored, tmp_path_factory.mktemp("work"), "--max-tokens", "300") as started:
        early = started.health()
        started.wait_until_ready()
        assert early == 503, "healthy before the model can have been loaded"
        yield started


@pytest.fixture
def client(engine: EngineProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def say(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def ask(client: openai.OpenAI, text: str) -> str:
    reply = client.chat.completions.create(model="model", messages=say(text), max_tokens=40, temperature=0)
    return reply.choices[0].message.content or ""


def test_the_openai_client_gets_a_completion(client: openai.OpenAI, stored: Stored) -> None:
    (model,) = client.models.list()
    assert model.model_dump()["digest"] == stored.digest
    reply = client.chat.completions.create(model=model.id, messages=say("hello"), max_tokens=7, temperature=0)
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 7
    assert reply.choices[0].finish_reason == "length"


def test_a_stream_has_the_text_of_the_whole_answer(client: openai.OpenAI) -> None:
    for number in range(8):
        text = f"tell me about number {number}"
        stream = client.chat.completions.create(
            model="model", messages=say(text), max_tokens=40, temperature=0, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == ask(client, text)


async def test_requests_at_once_get_the_answers_they_get_one_by_one(
    engine: EngineProcess, client: openai.OpenAI
) -> None:
    texts = [f"request {number} " + "word " * (number % 13) for number in range(40)]
    async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as many:

        async def one(text: str) -> str:
            reply = await many.chat.completions.create(model="model", messages=say(text), max_tokens=40, temperature=0)
            return reply.choices[0].message.content or ""

        together = await asyncio.gather(*(one(text) for text in texts))
    assert together == await asyncio.to_thread(lambda: [ask(client, text) for text in texts])


def test_a_seed_repeats_a_sampled_answer(client: openai.OpenAI) -> None:
    def draw(seed: int) -> str | None:
        reply = client.chat.completions.create(model="model", messages=say("x"), max_tokens=30, seed=seed)
        return reply.choices[0].message.content

    assert draw(1) == draw(1) != draw(2)


def test_a_prompt_longer_than_the_context_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "long " * 600)
    assert refused.value.code == "context_length_exceeded"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=say("x"))


def test_clients_that_leave_free_their_rows(engine: EngineProcess, client: openai.OpenAI) -> None:
    for _ in range(80):  # more than a batch has rows
        stream = client.chat.completions.create(model="model", messages=say("x"), max_tokens=300, stream=True)
        next(iter(stream))
        stream.close()
    ask(client, "still there?")
    deadline = time.monotonic() + 20
    while engine.load() != (0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_answers_under_way_are_finished_on_sigterm(stored: Stored, tmp_path: Path) -> None:
    with running(stored, tmp_path, "--max-tokens", "300") as engine:
        engine.wait_until_ready()
        with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
            found: list[str] = []
            stream = client.chat.completions.create(
                model="model", messages=say("x"), max_tokens=300, temperature=0, stream=True
            )
            chunks = iter(stream)
            next(chunks)
            reader = threading.Thread(
                target=lambda: found.extend(chunk.choices[0].finish_reason or "" for chunk in chunks)
            )
            reader.start()
            engine.process.send_signal(signal.SIGTERM)
            assert engine.process.wait(60) == 0
            reader.join(5)
            assert found[-1] in ("length", "stop")


def end_of(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


def test_a_digest_the_store_does_not_have_ends_with_65(stored: Stored, tmp_path: Path) -> None:
    absent = Stored(stored.store, "sha256:" + "1" * 64, stored.folder)
    code, told = end_of(engine_command(absent, tmp_path))
    assert code == 65
    assert absent.digest in told
    assert "Traceback" not in told


def test_damaged_content_ends_with_65(stored: Stored, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(stored.store.removeprefix("file://"), copy)
    biggest = max((file for file in copy.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    biggest.chmod(0o600)
    biggest.write_bytes(biggest.read_bytes()[:-1] + b"!")
    code, told = end_of(engine_command(Stored(f"file://{copy}", stored.digest, stored.folder), tmp_path / "work"))
    assert code == 65
    assert "sha256" in told


def test_a_model_without_tokenizer_ends_with_65(stored: Stored, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(stored.folder, folder)
    (folder / "tokenizer.json").unlink()
    code, told = end_of(engine_command(store_model(folder, tmp_path / "store"), tmp_path / "work"))
    assert code == 65
    assert "tokenizer" in told


def test_a_port_in_use_ends_with_69_and_is_named(stored: Stored, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, told = end_of([*engine_command(stored, tmp_path), "--port", port])
    assert code == 69
    assert port in told
    assert "Traceback" not in told
