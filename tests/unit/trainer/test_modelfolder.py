"""Model folders: what is missing is named, and weights that can run code are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbline_trainer.failures import BadData
from plumbline_trainer.modelfolder import check_model


def whole(path: Path) -> Path:
    """A folder that looks complete; nothing here loads it."""
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (path / "model.safetensors").write_bytes(b"")
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text("{}")
    (path / "chat_template.jinja").write_text("{{ messages }}")
    return path


def test_a_complete_folder_gives_its_template_and_the_files_that_stay(tmp_path: Path) -> None:
    (whole(tmp_path) / "pytorch_model.bin").write_bytes(b"never read")
    model = check_model(tmp_path)
    assert model.template == "{{ messages }}"
    assert [file.name for file in model.unchanged] == ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]


def test_the_template_may_stand_in_the_tokenizers_configuration(tmp_path: Path) -> None:
    (whole(tmp_path) / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "inside"}))
    assert check_model(tmp_path).template == "inside"


def remove(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / name).write_text(text)

    return change


def pickle_only(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def lose_a_shard(path: Path) -> None:
    index = {"weight_map": {"a": "model-00001.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def adapter_alone(path: Path) -> None:
    (path / "config.json").rename(path / "adapter_config.json")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (remove("config.json"), r"no config\.json"),
        (adapter_alone, "an adapter alone; set output.merge: true"),
        (write("config.json", "{"), r"config\.json is not valid JSON"),
        (write("config.json", "[]"), r"config\.json is not a JSON object"),
        (write("config.json", "{}"), "no model_type"),
        (write("config.json", '{"model_type": "x", "auto_map": {}}'), "code of its own"),
        (write("config.json", '{"model_type": "x", "quantization_config": {}}'), "quantised weights cannot be trained"),
        (remove("model.safetensors"), "no weights"),
        (pickle_only, r"only pytorch_model\.bin, which can run code"),
        (lose_a_shard, r"names model-00001\.safetensors, which is not there"),
        (remove("tokenizer.json"), "no tokenizer"),
        (remove("chat_template.jinja"), "no chat template"),
    ],
)
def test_a_folder_that_cannot_be_trained_says_what_is_missing(
    tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(whole(tmp_path))
    with pytest.raises(BadData, match=told):
        check_model(tmp_path)
