"""AlignmentRun: turn this model and this data into an aligned model, in these stages."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from plumbline_api.meta import Condition, ObjectMeta
from plumbline_api.model import Document, Timestamp
from plumbline_api.names import API_VERSION, Kind
from plumbline_api.progress import Progress
from plumbline_api.reasons import Phase, Reason
from plumbline_api.scalars import ApiVersion, DecimalText, Digest, Duration, Name, Quantity
from plumbline_api.sources import DatasetSource, ModelSource, OneOf

__all__ = [
    "AlignmentRun", "AlignmentRunSpec", "AlignmentRunStatus", "Compute", "DpoLoss", "DpoOptions", "LoraOptions",
    "LossOn", "Output", "Precision", "ResolvedInput", "Reuse", "Scheduler", "SftOptions", "Stage", "StageState",
    "StageStatus", "TrainingOptions",
]  # fmt: skip


class Scheduler(StrEnum):
    """Learning-rate schedules (names of transformers)."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"


class Precision(StrEnum):
    """Arithmetic of the training step; Bf16 is autocast over float32 weights."""

    FP32 = "Fp32"
    BF16 = "Bf16"


class LossOn(StrEnum):
    """The tokens that supervised fine-tuning learns from."""

    COMPLETION = "Completion"
    """The last answer of each row only."""
    ASSISTANT = "Assistant"
    """Every assistant turn (the chat template must mark them with generation tags)."""
    EVERYTHING = "Everything"
    """All tokens, prompts included."""


class DpoLoss(StrEnum):
    """Losses of direct preference optimisation that TRL implements for a paired data set."""

    SIGMOID = "sigmoid"
    HINGE = "hinge"
    IPO = "ipo"
    ROBUST = "robust"
    APO_ZERO = "apo_zero"
    APO_DOWN = "apo_down"
    SPPO_HARD = "sppo_hard"
    NCA_PAIR = "nca_pair"
    EXO_PAIR = "exo_pair"
    SFT = "sft"


class LoraOptions(Document):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): train W + (alpha / r) B A with W frozen."""

    r: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1, le=1024)] = 32
    dropout: DecimalText = "0"
    target: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(min_length=1, max_length=32),
    ] = ("all-linear",)
    """Names of modules, or the one word all-linear. Output embeddings (lm_head) cannot be adapted."""


class TrainingOptions(Document):
    """What every training stage has in common."""

    dataset: DatasetSource
    learning_rate: DecimalText
    """Peak learning rate; there is no default, because the right one depends on the model's size."""
    epochs: DecimalText | None = None
    """Passes over the data; exactly one of epochs and maxSteps."""
    max_steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Optimiser steps; exactly one of epochs and maxSteps."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Rows (pairs, for dpo) per device and forward pass."""
    gradient_accumulation: Annotated[int, Field(ge=1, le=4096)] = 1
    """Forward passes per optimiser step."""
    max_length: Annotated[int, Field(ge=8, le=1_048_576)] = 1024
    """Longest row in tokens; what is longer is cut."""
    warmup: DecimalText = "0"
    """Warm-up: below 1 a share of all steps, otherwise a number of steps."""
    weight_decay: DecimalText = "0"
    scheduler: Scheduler = Scheduler.COSINE
    precision: Precision = Precision.FP32
    lora: LoraOptions | None = None
    """Train adapters; leave out to train all weights."""
    save_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Steps between checkpoints: what a killed Job loses at most."""
    timeout: Duration | None = None
    """Longest time all attempts of the stage may take together."""
    held_out: DatasetSource | None = None
    """Prompts that belong to the evaluation; a training row with one of them is refused as a leak."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give exactly one of epochs and maxSteps")
        return self


class SftOptions(TrainingOptions):
    """Supervised fine-tuning on dialogues."""

    loss_on: LossOn = LossOn.COMPLETION


class DpoOptions(TrainingOptions):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) on pairs of answers."""

    beta: DecimalText
    """Strength of the pull towards the reference model."""
    loss: Annotated[tuple[DpoLoss, ...], Field(min_length=1, max_length=4)] = (DpoLoss.SIGMOID,)
    """One loss, or several that are summed with lossWeights."""
    loss_weights: Annotated[tuple[DecimalText, ...], Field(max_length=4)] | None = None
    """One weight per loss; left out, every loss weighs 1."""
    label_smoothing: DecimalText = "0"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss):
            raise ValueError(f"lossWeights has {len(self.loss_weights)} entries and loss has {len(self.loss)}")
        if len(set(self.loss)) != len(self.loss):
            raise ValueError("loss names one loss twice")
        if DpoLoss.ROBUST in self.loss and float(self.label_smoothing) == 0:
            raise ValueError("loss robust needs labelSmoothing above 0 and below 0.5")
        if float(self.label_smoothing) >= 0.5:
            raise ValueError("labelSmoothing must be below 0.5")
        return self


class Stage(OneOf):
    """One stage: a name and exactly one block."""

    name: Name
    sft: SftOptions | None = None
    dpo: DpoOptions | None = None

    @property
    def options(self) -> SftOptions | DpoOptions:
        """The block that is set."""
        found = self.sft or self.dpo
        if found is None:
            raise AssertionError("a stage without a block cannot be built")
        return found


class Compute(Document):
    """What one Job may use."""

    cpu: Quantity = "2"
    """Cores; training uses this many threads."""
    memory: Quantity | None = None
    """Memory limit of the Job; exceeding it is OutOfMemory."""


class Output(Document):
    """What becomes of the last stage's model."""

    merge: bool = True
    """Merge trained adapters into the base, so that the output serves alone."""


class Reuse(StrEnum):
    """Whether a stage may take the recorded result of an identical earlier one."""

    IF_UNCHANGED = "IfUnchanged"
    NEVER = "Never"


class AlignmentRunSpec(Document):
    """What to align, how, and with what. Immutable: a new run is a new name."""

    model: ModelSource
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=16)]
    compute: Compute = Field(default_factory=Compute)
    output: Output = Field(default_factory=Output)
    reuse: Reuse = Reuse.IF_UNCHANGED

    @model_validator(mode="after")
    def _unique_stages(self) -> Self:
        seen = [stage.name for stage in self.stages]
        twice = sorted({name for name in seen if seen.count(name) > 1})
        if twice:
            raise ValueError(f"stages: two stages are named {twice[0]}; each needs a name of its own")
        return self


class ResolvedInput(Document):
    """An input as it was found once and for all: everything later reads exactly this content."""

    name: Annotated[str, Field(max_length=80)]
    """`model`, or `stages/<name>/dataset`."""
    uri: Annotated[str, Field(max_length=2048)]
    digest: Digest


class StageState(StrEnum):
    """Life of one stage."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class StageStatus(Document):
    """One row of `status.stages`, keyed by name."""

    name: Name
    type: Annotated[str, Field(max_length=32)]
    state: StageState = StageState.PENDING
    reason: Reason | None = None
    message: Annotated[str, Field(max_length=1024)] = ""
    job: Annotated[str, Field(max_length=63)] | None = None
    cached: bool = False
    output: Digest | None = None
    report: Digest | None = None
    progress: Progress | None = None
    start_time: Timestamp | None = None
    completion_time: Timestamp | None = None


class AlignmentRunStatus(Document):
    """What the operator knows of a run."""

    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    conditions: tuple[Condition, ...] = ()
    start_time: Timestamp | None = None
    completion_time: Timestamp | None = None
    inputs: tuple[ResolvedInput, ...] = ()
    stages: tuple[StageStatus, ...] = ()
    output: Digest | None = None
    """Digest of the aligned model's manifest."""
    retry: Annotated[str, Field(max_length=256)] = ""
    """The last retry nonce that was acted upon."""
    attempt: int = 1


class AlignmentRun(Document):
    """The resource."""

    api_version: ApiVersion = API_VERSION
    kind: Annotated[str, Field(pattern=f"^{Kind.ALIGNMENT_RUN}$")] = Kind.ALIGNMENT_RUN.value
    metadata: ObjectMeta
    spec: AlignmentRunSpec
