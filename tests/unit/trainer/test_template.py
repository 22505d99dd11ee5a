"""Chat templates that do not round-trip are refused before anything is trained; lengths decide what is cut."""

from pathlib import Path

import pytest
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

from plumbline_trainer.data import DataSet
from plumbline_trainer.failures import BadData
from plumbline_trainer.modelfolder import ModelFolder
from plumbline_trainer.rows import Dialogue, Message, Pair, Place
from plumbline_trainer.template import (
    Tokenizer,
    check_template,
    fit_rows,
    load_tokenizer,
    refuse_misfit,
    require_generation_marks,
)
from tests.support.checkout import ROOT
from tests.support.tiny_model import TEMPLATE, make_tiny_tokenizer

PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def tokenizer(folder: Path, template: str = TEMPLATE) -> Tokenizer:
    return load_tokenizer(ModelFolder(folder, template))


@pytest.mark.parametrize("template", [TEMPLATE, PLAIN])
def test_a_template_that_round_trips_is_accepted(folder: Path, template: str) -> None:
    check_template(tokenizer(folder, template))


def test_the_template_that_the_documents_show_is_accepted(folder: Path) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    shown = page.partition("```jinja\n")[2].partition("```")[0]
    check_template(tokenizer(folder, shown))
    require_generation_marks(shown)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (PLAIN.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>bot\n{% endif %}"), "does not round-trip"),
        (PLAIN.replace("{{ m.content }}<|im_end|>", "{{ m.content }}"), "does not end an answer with the eos_token"),
        (PLAIN.replace("{{ m.content }}", "{{ m.content | upper }}"), "changes answers or puts text before them"),
        ("{{ messages[0].nothing.at.all }}", "cannot be rendered"),
        ("{% for %}", "cannot be rendered"),
        ("{{ raise_exception('no') }}", "cannot be rendered"),
    ],
)
def test_a_template_that_would_train_something_else_is_refused(folder: Path, template: str, told: str) -> None:
    with pytest.raises(BadData, match=told):
        check_template(tokenizer(folder, template))


def test_a_tokenizer_without_an_end_token_is_refused(folder: Path) -> None:
    endless = tokenizer(folder)
    endless.eos_token = None
    with pytest.raises(BadData, match="no eos_token"):
        check_template(endless)


def test_a_tokenizer_that_cannot_be_read_is_bad_data(tmp_path: Path) -> None:
    make_tiny_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadData, match=r"tokenizer\.json cannot be read"):
        tokenizer(tmp_path)


def test_loss_on_the_assistant_needs_marks_in_the_template() -> None:
    require_generation_marks(TEMPLATE)
    with pytest.raises(BadData, match="lossOn: Assistant needs"):
        require_generation_marks(PLAIN)


def dialogues(*rows: tuple[str, str]) -> DataSet[Dialogue]:
    made = tuple(Dialogue((Message("user", prompt),), answer) for prompt, answer in rows)
    return DataSet(made, tuple(Place("rows.jsonl", line + 1) for line in range(len(rows))), 0)


def test_rows_longer_than_the_limit_are_counted_and_those_without_room_for_an_answer_left_out(folder: Path) -> None:
    data = dialogues(("hi", "yes"), ("hi", "yes " * 40), ("hi " * 40, "yes"))
    fit = fit_rows(tokenizer(folder), data, max_length=64)
    assert (fit.kept, fit.cut) == ((0, 1), 1)
    assert [str(place) for place in fit.prompt_too_long] == ["rows.jsonl:3"]


def test_a_row_is_encoded_as_prompt_and_what_follows_it(folder: Path) -> None:
    (row,) = fit_rows(tokenizer(folder), dialogues(("hi", "yes")), max_length=64).encoded
    decode = PreTrainedTokenizerFast.from_pretrained(str(folder)).decode
    assert decode(row.prompt.tolist()) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert [decode(answer.tolist()) for answer in row.answers] == ["yes<|im_end|>\n"]


def test_a_pair_is_cut_if_either_answer_is(folder: Path) -> None:
    pairs = DataSet((Pair((Message("user", "hi"),), "yes", "no " * 60),), (Place("rows.jsonl", 1),), 0)
    assert fit_rows(tokenizer(folder), pairs, max_length=64).cut == 1


def test_a_limit_that_leaves_no_row_is_refused(folder: Path) -> None:
    with pytest.raises(BadData, match=r"no row is left.*raise maxLength"):
        fit_rows(tokenizer(folder), dialogues(("hi " * 40, "yes")), max_length=16)


def test_rows_that_the_template_refuses_are_named(folder: Path) -> None:
    strict = "{% if messages[0].content == 'bad' %}{{ raise_exception('no') }}{% endif %}" + PLAIN
    with pytest.raises(BadData, match=r"rows\.jsonl:2: the model's chat template refuses"):
        fit_rows(tokenizer(folder, strict), dialogues(("good", "yes"), ("bad", "yes")), max_length=64)


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    fit = fit_rows(tokenizer(folder), dialogues(("hi", "yes")), max_length=64)
    refuse_misfit(ModelFolder(folder, TEMPLATE, vocabulary=320, positions=512), fit, 64)
    with pytest.raises(BadData, match=r"gives token \d+, but config\.json has vocab_size 100"):
        refuse_misfit(ModelFolder(folder, TEMPLATE, vocabulary=100), fit, 64)


def test_rows_longer_than_the_model_was_made_for_are_refused_unless_they_are_cut(folder: Path) -> None:
    model = ModelFolder(folder, TEMPLATE, positions=48)
    fit = fit_rows(tokenizer(folder), dialogues(("hi", "yes " * 40)), max_length=64)
    with pytest.raises(BadData, match="rows of 64 tokens, but the model was made for 48"):
        refuse_misfit(model, fit, 64)
    refuse_misfit(model, fit, 48)
