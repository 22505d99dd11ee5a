"""A batch computes what each prompt alone would give, and what transformers' own generate gives."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plumbline_trainer.engine.orders import Order, Sampling
from tests.support.engine_process import make_talkative_model

pytestmark = pytest.mark.local
STEPS = 24
EMBEDDING = "model.embed_tokens.weight"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from plumbline_trainer.engine.loading import load_model

    return load_model(make_talkative_model(tmp_path_factory.mktemp("model")), threads=1)


def prompts(number: int, seed: int = 0, longest: int = 60) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(3, 280) for _ in range(rng.randint(1, longest))) for _ in range(number)]


def decoder(loaded: Any) -> Any:
    from plumbline_trainer.engine.decoder import Decoder

    return Decoder(loaded.model, loaded.pad)


def alone(loaded: Any, order: Order, steps: int = STEPS) -> list[int]:
    """The first tokens of an answer that shares its batch with nobody."""
    single = decoder(loaded)
    return [*single.admit([order]), *(single.step()[0] for _ in range(steps - 1))]


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def rewrite_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_batch_gives_each_prompt_the_tokens_it_would_get_alone(loaded: Any) -> None:
    orders = [Order(prompt, STEPS) for prompt in prompts(17)]
    batched = decoder(loaded)
    columns = [batched.admit(orders), *(batched.step() for _ in range(STEPS - 1))]
    assert [list(row) for row in zip(*columns, strict=True)] == [alone(loaded, order) for order in orders]


def test_greedy_tokens_are_those_of_transformers_generate(loaded: Any) -> None:
    import torch

    for prompt in prompts(4, seed=1):
        made = loaded.model.generate(
            torch.tensor([prompt]), max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        answer = alone(loaded, Order(prompt, STEPS))
        assert made[0, len(prompt) :].tolist() == answer
        assert len(set(answer)) > 3, "the model must not just repeat itself, or this proves nothing"


def test_joining_and_leaving_changes_no_row(loaded: Any) -> None:
    rng = random.Random(3)
    orders = [Order(prompt, 200) for prompt in prompts(24, seed=4)]
    expected = [alone(loaded, order, steps=90) for order in orders]
    batched, rows, got, waiting = decoder(loaded), list[int](), [list[int]() for _ in orders], list(range(24))
    for _ in range(60):
        if waiting and rng.random() < 0.4:
            new = [waiting.pop() for _ in range(min(len(waiting), rng.randint(1, 5)))]
            for index, token in zip(new, batched.admit([orders[index] for index in new]), strict=True):
                got[index].append(token)
            rows += new
        if rows:
            for index, token in zip(rows, batched.step(), strict=True):
                got[index].append(token)
        if rows and rng.random() < 0.3:
            stay = sorted(rng.sample(range(len(rows)), rng.randint(0, len(rows))))
            batched.keep(stay)
            rows = [rows[at] for at in stay]
    assert not waiting
    for made, wanted in zip(got, expected, strict=True):
        assert made == wanted[: len(made)]


def test_many_long_prompts_are_read_in_parts(loaded: Any) -> None:
    orders = [Order(prompt, 4) for prompt in sorted(prompts(40, seed=5, longest=400), key=len)]
    batched = decoder(loaded)
    columns = [batched.admit(orders), batched.step()]
    for at in (0, 20, 39):
        assert [column[at] for column in columns] == alone(loaded, orders[at], steps=2)


def test_a_seed_gives_the_same_draws_whoever_shares_the_batch(loaded: Any) -> None:
    sampling = Sampling(temperature=0.8, top_p=0.9, seed=11)
    order = Order(prompts(1)[0], STEPS, sampling)
    company = [Order(prompt, STEPS, Sampling(temperature=1.0, seed=number)) for number, prompt in enumerate(prompts(5))]
    batched = decoder(loaded)
    columns = [batched.admit([*company, order]), *(batched.step() for _ in range(STEPS - 1))]
    drawn = [column[-1] for column in columns]
    assert drawn == alone(loaded, order)
    assert drawn != alone(loaded, Order(order.prompt, STEPS, Sampling(temperature=0.8, top_p=0.9, seed=12)))
    assert drawn != alone(loaded, Order(order.prompt, STEPS))


def test_a_tiny_top_p_leaves_only_the_likeliest_token(loaded: Any) -> None:
    prompt = prompts(1, seed=8)[0]
    assert alone(loaded, Order(prompt, STEPS, Sampling(1.0, 1e-6, 5))) == alone(loaded, Order(prompt, STEPS))


@pytest.mark.parametrize("change", ["sliding", "broken", "incomplete", "few rows"])
def test_a_model_this_engine_cannot_compute_is_refused(tmp_path: Path, change: str) -> None:
    from plumbline_trainer.engine.loading import load_model
    from plumbline_trainer.failures import StageFailure

    folder = make_talkative_model(tmp_path / "model")
    if change == "broken":
        (folder / "model.safetensors").write_bytes(b"\x00" * 64)
    elif change == "incomplete":
        rewrite_weights(folder, lambda weights: weights.pop("model.norm.weight"))
    elif change == "few rows":
        edit_config(folder, vocab_size=100)
        rewrite_weights(folder, lambda weights: weights.update({EMBEDDING: weights[EMBEDDING][:100].clone()}))
    else:
        edit_config(folder, model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=64)
    with pytest.raises(StageFailure, match="model: ") as refused:
        load_model(folder, threads=1)
    assert refused.value.exit_code == (64 if change == "sliding" else 65)
