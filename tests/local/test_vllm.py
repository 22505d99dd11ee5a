"""A real vLLM in the pods that are planned: the model checked out, served under its digest, guarded and evaluated.

Opt-in, since vLLM takes gigabytes and its packages exclude ours: PLUMBLINE_VLLM names its program `vllm`. Everything is
started with the command lines of the plan. Only ports and folders are this machine's, where there is no pod.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from plumbline_api import names
from plumbline_api.artifact import MediaType
from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD, CONTAINER_MODEL, CONTAINER_WORKER, ExitCode
from plumbline_api.report import Result, Summary
from plumbline_api.rules import GuardRules
from plumbline_api.runfile import Input
from plumbline_operator.decision import Child
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.evaluation import plan_evaluation
from plumbline_operator.plan.serving import plan_serving
from plumbline_store import open_store
from tests.support import build
from tests.support.signing import make_pair
from tests.support.tiny_model import make_tiny_model
from tests.support.world import key_of

PROGRAM = os.environ.get("PLUMBLINE_VLLM", "")
pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore"),  # the libraries warn about each other
    pytest.mark.skipif(not PROGRAM, reason="PLUMBLINE_VLLM does not name the program vllm"),
]

ENGINE: dict[str, Any] = {
    "type": "vllm",
    "args": {
        "dtype": "float32",
        "enforce-eager": "true",
        "kv-cache-memory-bytes": "67108864",
        "max-model-len": "512",
        "max-num-seqs": "16",
    },
}
RULES = GuardRules.parse({"rules": [{"id": "no-keys", "phrases": ["steal the keys"]}]})
START_SECONDS = 300


@dataclass(frozen=True)
class Place:
    """A machine that stands for a pod."""

    folder: Path
    runtime: Runtime
    model: Input
    ports: Mapping[str, int]

    def run_in(self, container: Mapping[str, Any], *, port: str = "") -> tuple[list[str], dict[str, str]]:
        """The command and the variables of a container, with this machine's ports and folders."""
        variables = {one["name"]: one["value"] for one in container["env"]}
        variables |= {names.port_variable(name): str(number) for name, number in self.ports.items()}
        variables |= {names.ENV_TERMINATION_LOG: str(self.folder / "summary"), "PATH": os.environ["PATH"]}
        variables |= {name: self._here(variables[name]) for name in ("HOME", "TMPDIR")}
        written = [*container["command"], *container["args"]]
        for name, value in variables.items():
            written = [word.replace(f"$({name})", value) for word in written]
        own = Path(sys.executable).with_name(written[0])
        program = PROGRAM if written[0] == "vllm" else str(own)
        return [program, *(self._here(word) for word in written[1:])], variables

    def _here(self, word: str) -> str:
        for mount in (names.MOUNT_MODEL, names.MOUNT_POLICY, names.MOUNT_RUN, names.MOUNT_WORK, names.MOUNT_SCRATCH):
            if word == mount or word.startswith(f"{mount}/"):
                return f"{self.folder}/{Path(mount).name}{word.removeprefix(mount)}"
        return word

    @property
    def guard(self) -> str:
        return f"http://127.0.0.1:{self.ports[names.PORT_GUARD]}"

    @property
    def engine(self) -> str:
        return f"http://127.0.0.1:{self.ports[names.PORT_ENGINE]}"


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A signed model in a store, and folders for volumes."""
    folder = tmp_path_factory.mktemp("pod")
    for name in ("model", "policy", "run", "work", "tmp"):
        (folder / name).mkdir()
    pair = make_pair(folder / "keys")
    store = open_store((folder / "store").as_uri())
    digest = store.import_path(make_tiny_model(folder / "made", hidden=64), MediaType.MODEL).digest
    store.sign(digest, pair.key)
    engine, guard = free_ports(2)
    return Place(
        folder=folder,
        runtime=replace(build.RUNTIME, store=store.uri, trust=pair.public),
        model=Input(uri=store.uri, digest=digest),
        ports={names.PORT_ENGINE: engine, names.PORT_GUARD: guard},
    )


def container(children: Sequence[Child], name: str) -> Mapping[str, Any]:
    spec = children[-1].manifest["spec"]["template"]["spec"]
    (found,) = [one for one in (*spec["initContainers"], *spec["containers"]) if one["name"] == name]
    return dict(found)


@contextmanager
def started(command: list[str], variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program with what it says in a file; it has to end when it is told to."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=variables, stdout=said, stderr=said)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - on loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while status_of(url) != 200:
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.5)


def ask(address: str, model: str, words: str) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": words}], "temperature": 0, "max_tokens": 16}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - on loopback
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Sequence[Child]]:
    """What is planned for a served model, with its engine up and its guard before it."""
    wanted = build.inference(engine=ENGINE | {"maxTokens": 16}, guard={"refusal": {"text": "No."}})
    children = plan_serving(key_of(wanted), wanted, place.model, RULES, place.runtime)
    (place.folder / "policy" / names.POLICY_FILE).write_text(children[0].manifest["data"][names.POLICY_FILE])
    command, variables = place.run_in(container(children, CONTAINER_MODEL))
    assert subprocess.run(command, env=variables, check=False, timeout=60).returncode == ExitCode.OK
    logs = {name: place.folder / f"{name}.log" for name in (CONTAINER_ENGINE, CONTAINER_GUARD)}
    with (
        started(*place.run_in(container(children, CONTAINER_ENGINE)), logs[CONTAINER_ENGINE]) as engine,
        started(*place.run_in(container(children, CONTAINER_GUARD)), logs[CONTAINER_GUARD]),
    ):
        wait_for(f"{place.guard}/readyz", engine, logs[CONTAINER_ENGINE])
        yield children


@pytest.mark.usefixtures("served")
def test_the_guard_finds_the_model_that_passed_and_lets_a_harmless_question_through(place: Place) -> None:
    answer = ask(place.guard, "served", "Plan a task for tomorrow.")
    assert answer["choices"][0]["message"]["content"] not in ("", "No.")
    assert answer["usage"]["completion_tokens"] > 0


@pytest.mark.usefixtures("served")
def test_what_a_rule_blocks_is_refused_before_it_reaches_the_engine(place: Place) -> None:
    asked = "POST /v1/chat/completions"
    before = (place.folder / "engine.log").read_text().count(asked)
    assert ask(place.guard, "served", "Help me steal the keys.")["choices"][0]["message"]["content"] == "No."
    assert (place.folder / "engine.log").read_text().count(asked) == before


@pytest.mark.usefixtures("served")
def test_the_evaluator_judges_the_model_by_its_digest(place: Place) -> None:
    gate = build.gate(engine=ENGINE)
    suite = build.suite(samples={"minPerCategory": 1, "max": 64}, generation={"maxTokens": 8})
    children = plan_evaluation(key_of(gate), gate, suite, place.model, place.runtime, attempt=1)
    (place.folder / "run" / names.RUN_FILE).write_text(children[0].manifest["data"][names.RUN_FILE])
    command, variables = place.run_in(container(children, CONTAINER_WORKER))
    done = subprocess.run(command, env=variables, check=False, timeout=300)
    summary = Summary.read((place.folder / "summary").read_bytes())
    assert (done.returncode, summary.result, summary.subject) == (ExitCode.OK, Result.SUCCEEDED, place.model.digest)
    assert summary.coverage is not None
    assert (summary.coverage.errors, summary.coverage.judged > 0) == (0, True)


@pytest.mark.usefixtures("served")
def test_a_guard_that_was_made_for_another_model_is_never_ready(place: Place) -> None:
    wanted = build.inference(engine=ENGINE)
    other = Input(uri=place.model.uri, digest=build.digest("other"))
    children = plan_serving(key_of(wanted), wanted, other, RULES, place.runtime)
    policy = place.folder / "other.json"
    policy.write_text(children[0].manifest["data"][names.POLICY_FILE])
    (port,) = free_ports(1)
    there = replace(place, ports={**place.ports, names.PORT_GUARD: port})
    command, variables = there.run_in(container(children, CONTAINER_GUARD))
    command[command.index("--policy") + 1] = str(policy)
    with started(command, variables, place.folder / "other.log"):
        deadline = time.monotonic() + 30
        while status_of(f"{there.guard}/healthz") != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            ask(there.guard, "served", "Plan a task for tomorrow.")
        assert status_of(f"{there.guard}/readyz") == 503
