"""Everything about a stage that can be found out without torch: inputs fetched and verified, data and model checked.

Called by `stage`. A run that cannot work ends here, within seconds, and says why.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plumbline_api.alignment import DpoOptions, LossOn, SftOptions
from plumbline_api.runfile import Input, RunFile
from plumbline_store import StoreError, open_store
from plumbline_trainer.data import DataSet, Turns, read_dialogues, read_held_out, read_pairs, refuse_leaks
from plumbline_trainer.failures import BadSpec
from plumbline_trainer.modelfolder import ModelFolder, check_model
from plumbline_trainer.progress import ProgressLog
from plumbline_trainer.rows import Dialogue, Pair
from plumbline_trainer.template import (
    Fit,
    check_template,
    fit_rows,
    load_tokenizer,
    refuse_misfit,
    require_generation_marks,
)

if TYPE_CHECKING:
    from plumbline_store.signing import Trust

__all__ = ["HELD_OUT", "Prepared", "options_of", "prepare"]

HELD_OUT = "heldOut"
"""The name of the input that holds prompts no row may contain."""


@dataclass(frozen=True)
class Prepared:
    """Checked inputs."""

    model: ModelFolder
    data: DataSet[Dialogue] | DataSet[Pair]
    fit: Fit
    counts: dict[str, int]
    licence: str | None


def options_of(run: RunFile) -> SftOptions | DpoOptions:
    """The training options of a RunFile; raises BadSpec where it is for another program or lacks an input."""
    options = run.work.sft or run.work.dpo
    if options is None:
        raise BadSpec(f"work.{run.work.chosen}: this program trains; give sft or dpo")
    for name in ("model", "dataset"):
        if name not in run.inputs:
            raise BadSpec(f"inputs.{name}: missing; a training stage needs a model and a dataset")
    return options


def prepare(run: RunFile, work: Path, progress: ProgressLog, trust: "Trust | None" = None) -> Prepared:
    """Fetch and check the inputs; with trust, they must be signed.

    Raises:
        StoreError: an input is missing, damaged, not signed as it must be, or cannot be copied.
        BadData: model or data set cannot be used, with the place and the remedy.
    """
    options = options_of(run)
    progress.phase("fetching inputs")
    model = check_model(_fetch(run.inputs["model"], work / "inputs" / "model", trust))
    folder = _fetch(run.inputs["dataset"], work / "inputs" / "dataset", trust)
    held_out = run.inputs.get(HELD_OUT)
    secret = read_held_out(_fetch(held_out, work / "inputs" / "held-out", trust)) if held_out else frozenset[Turns]()
    licence = open_store(run.inputs["model"].uri).manifest(run.inputs["model"].digest).licence
    progress.phase("checking data")
    data = _read(folder, secret, options)
    tokenizer = load_tokenizer(model)
    check_template(tokenizer)
    if isinstance(options, SftOptions) and options.loss_on is LossOn.ASSISTANT:
        require_generation_marks(model.template)
    fit = fit_rows(tokenizer, data, options.max_length)
    refuse_misfit(model, fit, options.max_length)
    return Prepared(model, data, fit, _count(data, fit), licence)


def _read(
    folder: Path, secret: frozenset[Turns], options: SftOptions | DpoOptions
) -> DataSet[Dialogue] | DataSet[Pair]:
    data = read_dialogues(folder) if isinstance(options, SftOptions) else read_pairs(folder)
    refuse_leaks(data, secret)
    return data


def _count(data: DataSet[Dialogue] | DataSet[Pair], fit: Fit) -> dict[str, int]:
    return {
        "rowsIn": len(data.rows),
        "rowsKept": len(fit.kept),
        "duplicates": data.duplicates,
        "cut": fit.cut,
        "rejected.promptTooLong": len(fit.prompt_too_long),
    }


def _fetch(source: Input, into: Path, trust: "Trust | None") -> Path:
    """A verified copy; one that an earlier attempt left and that does not verify is made anew."""
    store = open_store(source.uri, trust)
    if into.exists():
        try:
            return store.checkout(source.digest, into)
        except StoreError:
            shutil.rmtree(into)
    return store.checkout(source.digest, into)
