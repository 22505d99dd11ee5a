"""Pairs whose prompt is computed once against the same pairs computed row by row, on tiny models of each family."""

from typing import Any

import pytest

pytestmark = pytest.mark.local

PAD = 0
PAIRS = (
    ([1, 2, 3], [4, 5], [6]),
    ([1, 2, 3, 4], [5, 6, 7], [5, 8, 9, 10]),
    ([7], [8, 9, 10, 11, 12], [8, 9]),
    ([7, 8], [9], [9]),
)
"""Prompts with both answers: of other lengths, with a common beginning, one the beginning of the other, the same."""
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def batch() -> dict[str, Any]:
    import torch

    rows = [prompt + chosen for prompt, chosen, _ in PAIRS] + [prompt + rejected for prompt, _, rejected in PAIRS]
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [PAD] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
    }


def model(family: str, **changes: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    config = AutoConfig.for_model(
        family, vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, **{"sliding_window": None} | changes,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


def states_and_gradients(computed: Any) -> tuple[Any, list[Any]]:
    """The hidden states of all tokens, and the gradients of a loss that weighs each of them differently."""
    import torch

    given = batch()
    states = computed.base_model(**given, use_cache=False).last_hidden_state[given["attention_mask"].bool()]
    weights = torch.arange(states.numel(), dtype=states.dtype).reshape(states.shape).sin()
    (states * weights).sum().backward()
    return states.detach(), [one.grad for one in computed.base_model.parameters() if one.grad is not None]


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prompts_give_the_states_and_gradients_of_separate_rows(family: str) -> None:
    import torch

    from plumbline_trainer.prefixes import share_prefixes

    separate, shared = model(family), model(family)
    assert share_prefixes(shared)
    expected, gradients = states_and_gradients(separate)
    states, shared_gradients = states_and_gradients(shared)
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    assert len(gradients) == len(shared_gradients) > 10
    for mine, theirs in zip(shared_gradients, gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_each_pair_is_one_row_in_which_the_answers_do_not_see_each_other() -> None:
    from plumbline_trainer.prefixes import join_pairs

    joined = join_pairs(**batch())
    assert joined.tokens[0, :6].tolist() == [1, 2, 3, 4, 5, 6]
    assert joined.positions[0, :6].tolist() == [0, 1, 2, 3, 4, 3]
    assert joined.visible[0, 0, 5, :6].tolist() == [True, True, True, False, False, True]
    assert joined.tokens[1, :10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert joined.tokens.shape == (4, 10), "a row is as wide as the widest pair, not as two rows"
    assert joined.columns[4, :4].tolist() == [0, 1, 2, 5]


@pytest.mark.parametrize(
    ("family", "changes"),
    [("gemma", {}), ("mistral", {"sliding_window": 4}), ("llama", {"attn_implementation": "eager"})],
)
def test_a_model_that_may_see_more_than_its_mask_is_left_alone(family: str, changes: dict[str, Any]) -> None:
    from plumbline_trainer.prefixes import share_prefixes

    untouched = model(family, **changes)
    assert not share_prefixes(untouched)
    assert not untouched.base_model._forward_hooks
