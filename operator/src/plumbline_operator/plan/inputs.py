"""Which files an object names, by the names that inputs have in statuses and run files.

Called by the Cluster port, which resolves them, and by decide, which needs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from plumbline_api.alignment import AlignmentRun
from plumbline_api.artifact import MediaType
from plumbline_api.gate import EvalGate
from plumbline_api.sources import FileSource
from plumbline_operator.observed import PlumblineObject

__all__ = ["BASELINE", "MODEL", "SUBJECT", "NeededInput", "dataset_input", "held_out_input", "needed_inputs"]

MODEL = "model"
SUBJECT = "subject"
BASELINE = "baseline"


@dataclass(frozen=True)
class NeededInput:
    """A file or folder to import, and what it must be."""

    source: FileSource
    media_type: MediaType
    field: str
    """Where the manifest names it."""


def dataset_input(stage: str) -> str:
    """Name of the data set of a stage."""
    return f"stages/{stage}/dataset"


def held_out_input(stage: str) -> str:
    """Name of the held-out prompts of a stage."""
    return f"stages/{stage}/heldOut"


def needed_inputs(thing: PlumblineObject) -> Mapping[str, NeededInput]:
    """Every file source of an object, by input name; empty for kinds without any."""
    needed: dict[str, NeededInput] = {}
    if isinstance(thing, AlignmentRun):
        if thing.spec.model.file is not None:
            needed[MODEL] = NeededInput(thing.spec.model.file, MediaType.MODEL, "spec.model.file.path")
        for number, stage in enumerate(thing.spec.stages):
            block = f"spec.stages[{number}].{stage.chosen}"
            data, held_out = stage.options.dataset.file, stage.options.held_out
            if data is not None:
                needed[dataset_input(stage.name)] = NeededInput(data, MediaType.DATASET, f"{block}.dataset.file.path")
            if held_out is not None and held_out.file is not None:
                found = NeededInput(held_out.file, MediaType.DATASET, f"{block}.heldOut.file.path")
                needed[held_out_input(stage.name)] = found
    if isinstance(thing, EvalGate):
        if thing.spec.subject.file is not None:
            needed[SUBJECT] = NeededInput(thing.spec.subject.file, MediaType.MODEL, "spec.subject.file.path")
        if thing.spec.baseline is not None and thing.spec.baseline.file is not None:
            needed[BASELINE] = NeededInput(thing.spec.baseline.file, MediaType.MODEL, "spec.baseline.file.path")
    return needed
