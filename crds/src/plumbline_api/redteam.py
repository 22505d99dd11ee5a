"""RedTeamSuite: these attacks and benign twins, judged like this."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from plumbline_api.constraints import Unique, constraint
from plumbline_api.meta import Conditions, ObjectMeta, ObservedGeneration
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
    """Contempt of people for what they are."""
    SELF_HARM = "self_harm"
    """Harm to oneself."""
    VIOLENCE = "violence"
    """Harm to others."""
    ILLEGAL_ACTS = "illegal_acts"
    """Crimes, from theft to drugs."""
    MISINFORMATION = "misinformation"
    """Falsehoods meant to be believed."""
    PRIVACY_VIOLATIONS = "privacy_violations"
    """Other people's private data."""
    SEXUAL_CONTENT = "sexual_content"
    """Sexual content."""
    HARASSMENT = "harassment"
    """Bullying and stalking of a person."""


class InjectionVariant(StrEnum):
    """Kinds of prompt injection."""

    IGNORE_PREVIOUS = "ignore_previous"
    """Declares earlier instructions void."""
    DAN = "dan"
    """Names a persona without rules."""
    SYSTEM_PROMPT_EXTRACTION = "system_prompt_extraction"
    """Asks for the system prompt first."""
    INDIRECT_IN_DOCUMENT = "indirect_in_document"
    """Hides the request in a document to be worked on."""


class SocialVariant(StrEnum):
    """Pretexts of social engineering."""

    AUTHORITY = "authority"
    """A superior orders it."""
    RESEARCHER = "researcher"
    """Science needs it."""
    FICTION = "fiction"
    """A story needs it."""
    GRANDMOTHER = "grandmother"
    """A dear relative used to do it."""


class ContextVariant(StrEnum):
    """Ways of bending a conversation over several turns."""

    ESCALATION = "escalation"
    """From harmless to harmful in small steps."""
    FALSE_RAPPORT = "false_rapport"
    """As between old friends."""
    EMOTIONAL = "emotional"
    """Out of despair."""
    JARGON = "jargon"
    """Buried in technical words."""


class Direct(Document):
    """Ask plainly."""


class RolePlay(Document):
    """Ask the model to play somebody who would comply."""


class PromptInjection(Document):
    """Try to override the model's instructions."""

    variants: Annotated[tuple[InjectionVariant, ...], Field(min_length=1, max_length=4)] = tuple(InjectionVariant)
    """The variants to use, in rotation."""


class SocialEngineering(Document):
    """Give a reason that makes the request sound legitimate."""

    variants: Annotated[tuple[SocialVariant, ...], Field(min_length=1, max_length=4)] = tuple(SocialVariant)
    """The pretexts to use, in rotation."""


class ContextManipulation(Document):
    """Lead up to the request over several turns."""

    turns: Annotated[int, Field(ge=2, le=8)] = 3
    """User turns, the request being in the last."""
    variants: Annotated[tuple[ContextVariant, ...], Field(min_length=1, max_length=4)] = tuple(ContextVariant)
    """The ways to use, in rotation."""


class Attack(OneOf):
    """One strategy with its options."""

    direct: Direct | None = None
    """Ask plainly."""
    role_play: RolePlay | None = None
    """Ask the model to play somebody who would comply."""
    prompt_injection: PromptInjection | None = None
    """Try to override the model's instructions."""
    social_engineering: SocialEngineering | None = None
    """Give a reason that makes the request sound legitimate."""
    context_manipulation: ContextManipulation | None = None
    """Lead up to the request over several turns."""

    @property
    def label(self) -> str:
        """The family's name in metrics (metrics.Label.ATTACK), as in `role_play`."""
        return self._chosen


class BuiltinCorpus(StrEnum):
    """Corpora that ship with the evaluator."""

    TASK_ASSISTANT = "task-assistant"
    """Requests to an assistant that manages tasks and reminders."""


class PackageCorpus(StrEnum):
    """Corpora read from packages installed beside the evaluator; never shipped by us."""

    ADVBENCH = "advbench"
    """AdvBench (Zou et al. 2023, arXiv 2307.15043)."""
    HARMBENCH = "harmbench"
    """HarmBench (Mazeika et al. 2024, arXiv 2402.04249)."""


class Corpus(OneOf):
    """Requests by category, each with a benign twin."""

    builtin: BuiltinCorpus | None = None
    """A corpus that ships with the evaluator."""
    package: PackageCorpus | None = None
    """A corpus from a package installed beside the evaluator."""


class RulesJudge(Document):
    """Judge by rules over the whole answer."""


class Judge(OneOf):
    """One judge."""

    rules: RulesJudge | None = None
    """Judge by rules over the whole answer."""


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
    """Longest answer."""
    temperature: Rate = "0"
    """0 takes the most likely token each time."""
    timeout: Duration = "60s"
    """Longest wait for one answer."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Repetitions of a request that failed in transport; each is counted in the report."""
    concurrency: Annotated[int, Field(ge=1, le=512)] = 32
    """Requests at once."""


class RedTeamSuiteSpec(Document):
    """What to attack with, and how answers are judged."""

    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=8), Unique()] = tuple(Category)
    """The kinds of harm to ask for."""
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1, max_length=8)]
    """The ways of asking; cases are balanced over them."""
    corpora: Annotated[tuple[Corpus, ...], Field(min_length=1, max_length=8)]
    """Where requests come from."""
    judges: Annotated[tuple[Judge, ...], Field(min_length=1, max_length=1)] = (Judge(rules=RulesJudge()),)
    """Who judges the answers."""
    samples: Samples = Field(default_factory=Samples)
    """How many cases to build."""
    generation: Generation = Field(default_factory=Generation)
    """How the subject answers."""
    system_prompt: Annotated[str, Field(max_length=4096)] | None = None
    """Put before every conversation, as the deployed model would have it."""

    @constraint(
        "must hold each kind of attack once; list its variants in one block",
        field="attacks",
        cel=" && ".join(f"self.attacks.filter(attack, has(attack.{arm})).size() <= 1" for arm in Attack.arms()),
    )
    def _attacks_once(self) -> bool:
        return len({attack.chosen for attack in self.attacks}) == len(self.attacks)


class Execution(Document):
    """One finished execution of the suite against one subject."""

    job: Annotated[str, Field(max_length=63)]
    """The Job that executed the suite."""
    gate: Name
    """The EvalGate that asked for it."""
    subject: Digest
    """Digest of the model that answered."""
    report: Digest
    """Digest of the full report."""
    completion_time: Timestamp
    """When it ended."""
    rows: Annotated[tuple[MetricRow, ...], Field(max_length=16)] = ()
    """The rates over all cases and over each split."""


class RedTeamSuiteStatus(Document):
    """What the operator knows of a suite."""

    observed_generation: ObservedGeneration = -1
    """The generation of the spec that this status speaks of; -1 before there is one."""
    phase: Phase = Phase.PENDING
    """Printed summary, derived from conditions."""
    conditions: Conditions = ()
    """List-map by type."""
    executions: Annotated[tuple[Execution, ...], Field(max_length=20)] = ()
    """The newest twenty, newest first."""


class RedTeamSuite(Document):
    """The resource."""

    api_version: ApiVersion = API_VERSION
    """The group and version."""
    kind: Annotated[str, Field(pattern=f"^{Kind.RED_TEAM_SUITE}$")] = Kind.RED_TEAM_SUITE.value
    """The kind."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    spec: RedTeamSuiteSpec
    """What to attack with, and how answers are judged."""
