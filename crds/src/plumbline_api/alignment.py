"""AlignmentRun: turn this model and this data into an aligned model, in these stages."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from plumbline_api.compute import Compute, Queue
from plumbline_api.constraints import Unique, constraint, exactly_one
from plumbline_api.immutable import Immutable, Mutable
from plumbline_api.meta import Conditions, ObjectMeta, ObservedGeneration
from plumbline_api.model import Document, Timestamp
from plumbline_api.names import API_VERSION, Kind
from plumbline_api.progress import Progress
from plumbline_api.reasons import Phase, Reason
from plumbline_api.scalars import ApiVersion, DecimalText, Digest, Duration, Name, Rate
from plumbline_api.sources import DatasetSource, ModelSource, OneOf

__all__ = [
    "AlignmentRun", "AlignmentRunSpec", "AlignmentRunStatus", "DpoLoss", "DpoOptions", "LoraOptions",
    "LossOn", "Output", "Precision", "ResolvedInput", "Reuse", "Scheduler", "SftOptions", "Signing", "Stage",
    "StageState", "StageStatus", "TrainingOptions",
]  # fmt: skip


class Scheduler(StrEnum):
    """Learning-rate schedules (names of transformers)."""

    COSINE = "cosine"
    """Falls along a cosine to zero."""
    LINEAR = "linear"
    """Falls in a line to zero."""
    CONSTANT = "constant"
    """Stays."""
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    """Stays, after warm-up."""


class Precision(StrEnum):
    """Arithmetic of the training step; Bf16 is autocast over float32 weights."""

    FP32 = "Fp32"
    """float32 throughout."""
    BF16 = "Bf16"
    """bfloat16 where it is safe."""


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
    """The loss of the DPO paper."""
    HINGE = "hinge"
    """Hinge on the margin (SLiC, arXiv 2305.10425)."""
    IPO = "ipo"
    """Squared distance to a fixed margin (arXiv 2310.12036)."""
    ROBUST = "robust"
    """Corrected for wrongly labelled pairs (arXiv 2403.00409)."""
    APO_ZERO = "apo_zero"
    """Anchored: chosen up, rejected down (arXiv 2408.06266)."""
    APO_DOWN = "apo_down"
    """Anchored: both down, rejected more (arXiv 2408.06266)."""
    SPPO_HARD = "sppo_hard"
    """Self-play preference optimisation with hard labels (arXiv 2405.00675)."""
    NCA_PAIR = "nca_pair"
    """Noise-contrastive alignment (arXiv 2402.05369)."""
    EXO_PAIR = "exo_pair"
    """Exact optimisation (arXiv 2402.00856)."""
    SFT = "sft"
    """Log-likelihood of the chosen answer, to be summed with another loss."""


class LoraOptions(Document):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): train W + (alpha / r) B A with W frozen."""

    r: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of the adapters."""
    alpha: Annotated[int, Field(ge=1, le=1024)] = 32
    """Scale of the adapters, divided by r."""
    dropout: DecimalText = "0"
    """Share of inputs of an adapter that is dropped in training."""
    target: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(min_length=1, max_length=32),
    ] = ("all-linear",)
    """Names of modules, or the one word all-linear. Output embeddings (lm_head) cannot be adapted."""


class TrainingOptions(Document):
    """What every training stage has in common."""

    dataset: DatasetSource
    """The data set to train on."""
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
    """Decay of weights per step (AdamW)."""
    adam_beta2: Rate = "0.999"
    """Memory of squared gradients in AdamW; short runs learn better with a shorter one, such as 0.98."""
    scheduler: Scheduler = Scheduler.COSINE
    """How the learning rate falls after warm-up."""
    precision: Precision = Precision.FP32
    """Arithmetic of the training step."""
    lora: LoraOptions | None = None
    """Train adapters; leave out to train all weights."""
    save_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Steps between checkpoints: what a killed Job loses at most."""
    timeout: Duration | None = None
    """Longest time all attempts of the stage may take together."""
    held_out: DatasetSource | None = None
    """Prompts that belong to the evaluation; a training row with one of them is refused as a leak."""

    _one_length = exactly_one("epochs", "max_steps")

    @constraint(
        "must be above 0, or nothing is learned",
        field="epochs",
        cel="!has(self.epochs) || double(self.epochs) > 0.0",
    )
    def _reads_something(self) -> bool:
        return self.epochs is None or float(self.epochs) > 0

    @constraint("must be above 0, or nothing is learned", field="learningRate", cel="double(self.learningRate) > 0.0")
    def _learns_something(self) -> bool:
        return float(self.learning_rate) > 0


class SftOptions(TrainingOptions):
    """Supervised fine-tuning on dialogues."""

    loss_on: LossOn = LossOn.COMPLETION
    """The tokens that are learned from."""


class DpoOptions(TrainingOptions):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) on pairs of answers."""

    beta: DecimalText
    """Strength of the pull towards the reference model."""
    loss: Annotated[tuple[DpoLoss, ...], Field(min_length=1, max_length=4)] = (DpoLoss.SIGMOID,)
    """One loss, or several that are summed with lossWeights."""
    loss_weights: Annotated[tuple[DecimalText, ...], Field(max_length=4)] | None = None
    """One weight per loss; left out, every loss weighs 1."""
    label_smoothing: DecimalText = "0"
    """Assumed share of wrongly labelled pairs, below 0.5."""

    @constraint(
        "must have one entry per loss",
        field="lossWeights",
        cel="!has(self.lossWeights) || self.lossWeights.size() == self.loss.size()",
    )
    def _weighs_each(self) -> bool:
        return self.loss_weights is None or len(self.loss_weights) == len(self.loss)

    @constraint(
        "must name each loss once",
        field="loss",
        cel="self.loss.all(one, self.loss.exists_one(other, other == one))",
    )
    def _names_each_once(self) -> bool:
        return len(set(self.loss)) == len(self.loss)

    @constraint("must be below 0.5", field="labelSmoothing", cel="double(self.labelSmoothing) < 0.5")
    def _smooths_in_bounds(self) -> bool:
        return float(self.label_smoothing) < 0.5

    @constraint(
        "must be above 0 for the loss robust",
        field="labelSmoothing",
        cel="!('robust' in self.loss) || double(self.labelSmoothing) > 0.0",
    )
    def _smooths_for_robust(self) -> bool:
        return DpoLoss.ROBUST not in self.loss or float(self.label_smoothing) > 0


class Stage(OneOf):
    """One stage: a name and exactly one block."""

    name: Name
    """Names the stage in status, logs and metrics; unique in the run."""
    sft: SftOptions | None = None
    """Supervised fine-tuning on dialogues."""
    dpo: DpoOptions | None = None
    """Direct preference optimisation on pairs of answers."""

    @property
    def options(self) -> SftOptions | DpoOptions:
        """The block that is set."""
        found = self.sft or self.dpo
        if found is None:
            raise AssertionError("a stage without a block cannot be built")
        return found


class Signing(Document):
    """What a run signs with."""

    secret: Name
    """The Secret whose key signing.key holds the private key: PEM, EC P-256, without a password."""


class Output(Document):
    """What becomes of the models that the stages make."""

    merge: bool = True
    """Merge trained adapters into the base, so that the output serves alone."""
    sign: Signing | None = None
    """Sign every stage's model; required where the operator is told to trust signed artifacts only."""


class Reuse(StrEnum):
    """Whether a stage may take the recorded result of an identical earlier one."""

    IF_UNCHANGED = "IfUnchanged"
    """Take the recorded result when model, data, options, image and seed are the same."""
    NEVER = "Never"
    """Compute anew."""


class AlignmentRunSpec(Immutable):
    """What to align, how, and with what. Immutable: a new run is a new name."""

    model: ModelSource
    """The model to start from."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Makes data order and initialisation repeatable."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=16), Unique("name")]
    """The stages in order; each starts from the model of the one before."""
    compute: Compute = Field(default_factory=Compute)
    """What each Job may use."""
    output: Output = Field(default_factory=Output)
    """What becomes of the models that the stages make."""
    reuse: Reuse = Reuse.IF_UNCHANGED
    """Whether a stage may take the recorded result of an identical earlier one."""
    queue: Annotated[Queue | None, Mutable()] = None
    """The queue that admits the Jobs; may be changed, and counts for Jobs made from then on."""
    suspend: Annotated[bool, Mutable()] = False
    """Whether to pause: the Job at work is deleted, finished stages stay. May be changed."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=315_360_000), Mutable()] = None
    """When Jobs, pods and their logs are deleted, counted from the run's end; left out, never. May be changed."""


class ResolvedInput(Document):
    """An input as it was found once and for all: everything later reads exactly this content."""

    name: Annotated[str, Field(max_length=80)]
    """`model`, or `stages/<name>/dataset`."""
    uri: Annotated[str, Field(max_length=2048)]
    """The store that holds the content."""
    digest: Digest
    """Digest of the content's manifest."""


class StageState(StrEnum):
    """Life of one stage."""

    PENDING = "Pending"
    """Waits for the stages before it."""
    RUNNING = "Running"
    """Its Job is at work."""
    SUCCEEDED = "Succeeded"
    """Its output is in the store."""
    FAILED = "Failed"
    """Its Job ended in failure; reason and message say why."""


class StageStatus(Document):
    """One row of `status.stages`, keyed by name."""

    name: Name
    """The stage's name."""
    type: Annotated[str, Field(max_length=32)]
    """The block it has, for example `dpo`."""
    state: StageState = StageState.PENDING
    """Where it is in its life."""
    reason: Reason | None = None
    """Why it is in this state."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """The same for people: object, fact, next action."""
    job: Annotated[str, Field(max_length=63)] | None = None
    """The Job, or the JobSet, of the newest attempt."""
    cached: bool = False
    """Whether the result was taken from an identical earlier stage."""
    output: Digest | None = None
    """Digest of the model it made."""
    report: Digest | None = None
    """Digest of its full report."""
    progress: Progress | None = None
    """The newest progress report of the Job."""
    start_time: Timestamp | None = None
    """When its Job was first seen at work."""
    completion_time: Timestamp | None = None
    """When its Job ended."""


class AlignmentRunStatus(Document):
    """What the operator knows of a run."""

    observed_generation: ObservedGeneration = -1
    """The generation of the spec that this status speaks of; -1 before there is one."""
    phase: Phase = Phase.PENDING
    """Printed summary, derived from conditions."""
    conditions: Conditions = ()
    """List-map by type."""
    start_time: Timestamp | None = None
    """When the run began."""
    completion_time: Timestamp | None = None
    """When the run ended, well or not."""
    inputs: Annotated[tuple[ResolvedInput, ...], Field(max_length=64), Unique("name")] = ()
    """Every input with the digest it was found with."""
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=16), Unique("name")] = ()
    """One row per stage, in order."""
    output: Digest | None = None
    """Digest of the aligned model's manifest."""
    retry: Annotated[str, Field(max_length=256)] = ""
    """The last retry nonce that was acted upon."""
    attempt: int = 1
    """How often the run was started, retries included."""


class AlignmentRun(Document):
    """The resource."""

    api_version: ApiVersion = API_VERSION
    """The group and version."""
    kind: Annotated[str, Field(pattern=f"^{Kind.ALIGNMENT_RUN}$")] = Kind.ALIGNMENT_RUN.value
    """The kind."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    spec: AlignmentRunSpec
    """What to align, how, and with what."""
