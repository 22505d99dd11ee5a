"""From the options of a RunFile to the fields of the trainers; tests/local compares them with the real classes."""

from pathlib import Path

import pytest

from plumbline_api.alignment import DpoOptions, LoraOptions, LossOn, SftOptions, TrainingOptions
from plumbline_trainer.failures import BadSpec
from plumbline_trainer.options import (
    DPO_FIELDS,
    ELSEWHERE,
    LORA_FIELDS,
    SFT_FIELDS,
    Field,
    dpo_settings,
    lora_settings,
    refuse_impossible,
    sft_settings,
)
from plumbline_trainer.world import World

COMMON = {"dataset": {"file": {"path": "x"}}, "learningRate": "5e-4", "maxSteps": 10}
HERE = Path("checkpoints")


def sft(**options: object) -> SftOptions:
    return SftOptions.parse(COMMON | options)


def dpo(**options: object) -> DpoOptions:
    return DpoOptions.parse(COMMON | {"beta": "0.1"} | options)


@pytest.mark.parametrize(
    ("table", "options"), [(SFT_FIELDS, SftOptions), (DPO_FIELDS, DpoOptions), (LORA_FIELDS, LoraOptions)]
)
def test_every_option_of_the_contract_is_in_its_table(
    table: tuple[Field, ...], options: type[TrainingOptions] | type[LoraOptions]
) -> None:
    assert {line.option for line in table} == set(options.model_fields) - ELSEWHERE


def test_text_becomes_numbers_and_what_is_left_out_stays_out() -> None:
    settings = sft_settings(sft(warmup="0.06", weightDecay="0.01"), 3, HERE)
    assert settings["learning_rate"] == 5e-4
    assert settings["warmup_steps"] == 0.06
    assert settings["max_steps"] == 10
    assert settings["seed"] == settings["data_seed"] == 3
    assert "num_train_epochs" not in settings


def test_a_warm_up_of_one_or_more_is_a_number_of_steps() -> None:
    warmup = sft_settings(sft(warmup="20"), 0, HERE)["warmup_steps"]
    assert warmup == 20
    assert isinstance(warmup, int)


def test_a_batch_is_divided_into_passes_and_a_step_keeps_its_rows() -> None:
    settings = sft_settings(sft(batchSize=32, gradientAccumulation=3), 0, HERE)
    assert (settings["per_device_train_batch_size"], settings["gradient_accumulation_steps"]) == (8, 12)


@pytest.mark.parametrize(
    ("loss_on", "fields"),
    [(LossOn.COMPLETION, (True, False)), (LossOn.ASSISTANT, (False, True)), (LossOn.EVERYTHING, (False, False))],
)
def test_the_tokens_that_count_are_chosen_by_two_fields(loss_on: LossOn, fields: tuple[bool, bool]) -> None:
    settings = sft_settings(sft(lossOn=loss_on.value), 0, HERE)
    assert (settings["completion_only_loss"], settings["assistant_only_loss"]) == fields


@pytest.mark.parametrize(
    ("options", "precompute"),
    [
        (dpo(), True),
        (dpo(lora={}), False),
        (dpo(lora={}, maxSteps=20), True),
        (DpoOptions.parse({**COMMON, "maxSteps": None, "epochs": "1", "beta": "0.1", "lora": {}}), False),
        (DpoOptions.parse({**COMMON, "maxSteps": None, "epochs": "3", "beta": "0.1", "lora": {}}), True),
    ],
)
def test_the_reference_is_computed_once_without_adapters_or_when_rows_come_again(
    options: DpoOptions, *, precompute: bool
) -> None:
    assert dpo_settings(options, 0, HERE, rows=100)["precompute_ref_log_probs"] is precompute


def test_losses_become_a_list_with_weights() -> None:
    settings = dpo_settings(dpo(loss=["sigmoid", "sft"], lossWeights=["1", "0.5"]), 0, HERE, rows=8)
    assert (settings["loss_type"], settings["loss_weights"]) == (["sigmoid", "sft"], [1.0, 0.5])


def test_all_linear_is_a_word_and_other_targets_are_a_list() -> None:
    assert lora_settings(LoraOptions())["target_modules"] == "all-linear"
    assert lora_settings(LoraOptions(target=("q_proj", "v_proj")))["target_modules"] == ["q_proj", "v_proj"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (sft(lora={"target": ["lm_head"]}), "lm_head cannot be adapted"),
        (sft(lora={"target": ["all-linear", "q_proj"]}), "all-linear stands alone"),
        (dpo(loss=["exo_pair"]), "exo_pair needs a value above 0"),
    ],
)
def test_what_the_libraries_would_refuse_later_is_refused_at_once(options: TrainingOptions, told: str) -> None:
    with pytest.raises(BadSpec, match=told):
        refuse_impossible(options)


@pytest.mark.parametrize(("gpu", "backend"), [(True, "nccl"), (False, "gloo")])
def test_processes_meet_on_the_device_that_they_compute_on(gpu: bool, backend: str) -> None:  # noqa: FBT001
    settings = sft_settings(sft(), 0, HERE, World(size=2, gpu=gpu))
    assert (settings["use_cpu"], settings["ddp_backend"]) == (not gpu, backend)
    assert sft_settings(sft(), 0, HERE, World(gpu=gpu))["use_cpu"] is not gpu
