"""RunFile v1: all that a Job needs to know. Written by the operator's plan; read by trainer and evaluator."""

from typing import Annotated, Literal

from pydantic import Field

from plumbline_api.alignment import DpoOptions, Reuse, SftOptions
from plumbline_api.model import Document
from plumbline_api.redteam import RedTeamSuiteSpec
from plumbline_api.scalars import Digest, Name
from plumbline_api.sources import OneOf

__all__ = ["Input", "RunFile", "Work"]


class Input(Document):
    """Content to read from a store; its digest is verified."""

    uri: Annotated[str, Field(min_length=1, max_length=2048)]
    """The store that holds it."""
    digest: Digest
    """Digest of its manifest."""


class Work(OneOf):
    """What to do; exactly one. Sources inside the block are already resolved into `RunFile.inputs`."""

    sft: SftOptions | None = None
    """Supervised fine-tuning."""
    dpo: DpoOptions | None = None
    """Direct preference optimisation."""
    red_team: RedTeamSuiteSpec | None = None
    """Execute a suite against a model."""


class RunFile(Document):
    """One Job's orders."""

    version: Literal[1] = 1
    """Version of this format."""
    owner: Annotated[str, Field(max_length=200)]
    """Kind/namespace/name of the object this is for; for logs."""
    stage: Name
    """The stage or suite."""
    work: Work
    """What to do."""
    inputs: Annotated[dict[str, Input], Field(max_length=32)]
    """Stages: `model`, `dataset` and, where asked, `heldOut`. Evaluations: `model`, the subject."""
    store: Annotated[str, Field(min_length=1, max_length=2048)]
    """Where outputs and reports are published."""
    seed: int
    """Makes data order, initialisation and the choice of cases repeatable."""
    threads: Annotated[int, Field(ge=1, le=1024)]
    """Threads to compute with, on each node."""
    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Pods that do the work together; which of them this is, and where the first is, stands in the environment."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """GPUs of each node to train on; 0 computes on processors and looks at none."""
    merge: bool = False
    """Merge adapters into the published model."""
    cache_key: Digest
    """Digest of everything the result depends on."""
    reuse: Reuse = Reuse.IF_UNCHANGED
    """Whether a recorded result of the same cache key may be taken."""
    image: Annotated[str, Field(max_length=512)]
    """The image this runs in, for the report."""
