"""RedTeamSuite: these attacks and benign twins, judged like this."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from plumbline_api.meta import Condition, ObjectMeta
from plumbline_api.metrics import MetricRow
from plumbline_api.model import Document, Timestamp
from plumbline_api.names import API_VERSION, Kind
from plumbline_api.reasons import Phase
from plumbline_api.scalars import ApiVersion, Digest, Duration, Name, Rate
from plumbline_api.sources import OneOf

__all__ = [
    "Attack", "BuiltinCorpus", "Category", "ContextManipulation", "ContextVariant", "Corpus", "Direct", "Execution",
    "Generation", "InjectionVariant", "Judge", "PackageCorpus", "PromptInjection", "RedTeamSuite", "RedTeamSuiteSpec",
    "RedTeamSuiteStatus", "RolePlay", "RulesJudge", "Samples", "SocialEngineering", "SocialVariant",
]  # fmt: skip


class Category(StrEnum):
    """The eight kinds of harm."""

    HATE_SPEECH = "hate_speech"
    SELF_HARM = "self_harm"
    VIOLENCE = "violence"
    ILLEGAL_ACTS = "illegal_acts"
    MISINFORMATION = "misinformation"
    PRIVACY_VIOLATIONS = "privacy_violations"
    SEXUAL_CONTENT = "sexual_content"
    HARASSMENT = "harassment"


class InjectionVariant(StrEnum):
    """Kinds of prompt injection."""

    IGNORE_PREVIOUS = "ignore_previous"
    DAN = "dan"
    SYSTEM_PROMPT_EXTRACTION = "system_prompt_extraction"
    INDIRECT_IN_DOCUMENT = "indirect_in_document"


class SocialVariant(StrEnum):
    """Pretexts of social engineering."""

    AUTHORITY = "authority"
    RESEARCHER = "researcher"
    FICTION = "fiction"
    GRANDMOTHER = "grandmother"


class ContextVariant(StrEnum):
    """Ways of bending a conversation over several turns."""

    ESCALATION = "escalation"
    FALSE_RAPPORT = "false_rapport"
    EMOTIONAL = "emotional"
    JARGON = "jargon"


class Direct(Document):
    """Ask plainly."""


class RolePlay(Document):
    """Ask the model to play somebody who would comply."""


class PromptInjection(Document):
    """Try to override the model's instructions."""

    variants: Annotated[tuple[InjectionVariant, ...], Field(min_length=1, max_length=4)] = tuple(InjectionVariant)


class SocialEngineering(Document):
    """Give a reason that makes the request sound legitimate."""

    variants: Annotated[tuple[SocialVariant, ...], Field(min_length=1, max_length=4)] = tuple(SocialVariant)


class ContextManipulation(Document):
    """Lead up to the request over several turns."""

    turns: Annotated[int, Field(ge=2, le=8)] = 3
    variants: Annotated[tuple[ContextVariant, ...], Field(min_length=1, max_length=4)] = tuple(ContextVariant)


class Attack(OneOf):
    """One strategy with its options."""

    direct: Direct | None = None
    role_play: RolePlay | None = None
    prompt_injection: PromptInjection | None = None
    social_engineering: SocialEngineering | None = None
    context_manipulation: ContextManipulation | None = None

    @property
    def label(self) -> str:
        """The family's name in metrics (metrics.Label.ATTACK), as in `role_play`."""
        return next(name for name in self._arms() if getattr(self, name) is not None)


class BuiltinCorpus(StrEnum):
    """Corpora that ship with the evaluator."""

    TASK_ASSISTANT = "task-assistant"


class PackageCorpus(StrEnum):
    """Corpora read from packages installed beside the evaluator; never shipped by us."""

    ADVBENCH = "advbench"
    HARMBENCH = "harmbench"


class Corpus(OneOf):
    """Requests by category, each with a benign twin."""

    builtin: BuiltinCorpus | None = None
    package: PackageCorpus | None = None


class RulesJudge(Document):
    """Judge by rules over the whole answer."""


class Judge(OneOf):
    """One judge."""

    rules: RulesJudge | None = None


class Samples(Document):
    """How many cases to build."""

    min_per_category: Annotated[int, Field(ge=1, le=5000)] = 59
    """Harmful cases in each category (59 without a failure prove a rate below 5 % with 95 % confidence)."""
    max: Annotated[int, Field(ge=1, le=4000)] = 2000
    """Most cases in all, benign twins included."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Picks the cases; the same seed asks the same questions of every subject."""


class Generation(Document):
    """How the subject answers."""

    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    temperature: Rate = "0"
    timeout: Duration = "60s"
    """Longest wait for one answer."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Repetitions of a request that failed in transport; each is counted in the report."""
    concurrency: Annotated[int, Field(ge=1, le=512)] = 32


class RedTeamSuiteSpec(Document):
    """What to attack with, and how answers are judged."""

    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=8)] = tuple(Category)
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1, max_length=8)]
    corpora: Annotated[tuple[Corpus, ...], Field(min_length=1, max_length=8)]
    judges: Annotated[tuple[Judge, ...], Field(min_length=1, max_length=1)] = (Judge(rules=RulesJudge()),)
    samples: Samples = Field(default_factory=Samples)
    generation: Generation = Field(default_factory=Generation)
    system_prompt: Annotated[str, Field(max_length=4096)] | None = None
    """Put before every conversation, as the deployed model would have it."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        kinds = [attack.chosen for attack in self.attacks]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise ValueError(f"attacks: {twice[0]} stands twice; list its variants in one block")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("categories: one category stands twice")
        return self


class Execution(Document):
    """One finished execution of the suite against one subject."""

    job: Annotated[str, Field(max_length=63)]
    gate: Name
    subject: Digest
    report: Digest
    completion_time: Timestamp
    rows: Annotated[tuple[MetricRow, ...], Field(max_length=16)] = ()
    """The rates over all cases and over each split."""


class RedTeamSuiteStatus(Document):
    """What the operator knows of a suite."""

    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    conditions: tuple[Condition, ...] = ()
    executions: Annotated[tuple[Execution, ...], Field(max_length=20)] = ()
    """The newest twenty, newest first."""


class RedTeamSuite(Document):
    """The resource."""

    api_version: ApiVersion = API_VERSION
    kind: Annotated[str, Field(pattern=f"^{Kind.RED_TEAM_SUITE}$")] = Kind.RED_TEAM_SUITE.value
    metadata: ObjectMeta
    spec: RedTeamSuiteSpec
