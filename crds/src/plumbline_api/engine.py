"""Which engine computes a model's answers, and what it is told: one model for what is judged and what serves.

Used by EvalGate and GuardedInference; read by plan.engines, which makes command lines of it.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from plumbline_api.constraints import constraint
from plumbline_api.model import Document
from plumbline_api.suggestions import UnknownName

__all__ = ["Engine", "EngineType"]


class EngineType(StrEnum):
    """Engines that can compute a model's answers."""

    TRANSFORMERS = "transformers"
    """Plumbline's own, over transformers; it computes on the CPU."""
    VLLM = "vllm"
    """vLLM, in the image that the installation names for it; it computes on the GPUs that `compute` asks for."""


_SWITCHES: Final = ("enable-prefix-caching", "enforce-eager")
_NUMBERS: Final = (
    "gpu-memory-utilization", "kv-cache-memory-bytes", "max-model-len", "max-num-batched-tokens", "max-num-seqs",
    "seed",
)  # fmt: skip
_WORDS: Final = ("dtype", "kv-cache-dtype", "quantization")
_NAMES: Final = (*_SWITCHES, *_NUMBERS, *_WORDS)
_ON_OFF: Final = ("true", "false")
_NUMBER: Final = r"^[0-9]{1,15}([.][0-9]{1,6})?$"

ArgumentValue = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]


def _listed(names: tuple[str, ...]) -> str:
    """A list of texts, as CEL writes it."""
    return f"[{', '.join(repr(name) for name in names)}]"


class Engine(Document):
    """What computes the answers; it listens on loopback only."""

    type: EngineType = EngineType.TRANSFORMERS
    """The engine."""
    args: Annotated[dict[str, ArgumentValue], Field(max_length=len(_NAMES))] = Field(default_factory=dict)
    """Options of `vllm serve`, by their names without dashes: those of memory, batches and precision alone, because
    others could open another port, load code out of the model or another model, or write down what is asked.

    Switches are "true" or "false". GPUs are counted by `compute` and not here.
    """

    @constraint(
        "is for type vllm only: Plumbline's own engine takes none",
        field="args",
        cel=f"self.type == '{EngineType.VLLM}' || !has(self.args) || size(self.args) == 0",
    )
    def _has_options(self) -> bool:
        return self.type == EngineType.VLLM or not self.args

    @constraint(
        f"may name {', '.join(sorted(_NAMES))}, and nothing else",
        field="args",
        cel=f"!has(self.args) || self.args.all(name, name in {_listed(_NAMES)})",
    )
    def _names_known_options(self) -> bool:
        for name in self.args:
            if name not in _NAMES:
                raise UnknownName("an option of vLLM that is passed on", name, sorted(_NAMES))
        return True

    @constraint(
        f'must be "true" or "false" for {" and ".join(_SWITCHES)}',
        field="args",
        cel=f"!has(self.args) || {_listed(_SWITCHES)}.all(name, "
        f"!(name in self.args) || self.args[name] in {_listed(_ON_OFF)})",
    )
    def _switches_on_or_off(self) -> bool:
        return all(self.args[name] in _ON_OFF for name in _SWITCHES if name in self.args)

    @constraint(
        f"must be a number for {', '.join(_NUMBERS)}",
        field="args",
        cel=f"!has(self.args) || {_listed(_NUMBERS)}.all(name, "
        f"!(name in self.args) || self.args[name].matches('{_NUMBER}'))",
    )
    def _counts_in_numbers(self) -> bool:
        return all(re.fullmatch(_NUMBER, self.args[name]) for name in _NUMBERS if name in self.args)

    @property
    def options(self) -> tuple[str, ...]:
        """The arguments as a command line has them, in one order whatever the order of the manifest."""
        return tuple(_option(name, value) for name, value in sorted(self.args.items()))

    @property
    def precision(self) -> Mapping[str, str]:
        """What decides how answers come out: two engines that differ in it are two models to a gate."""
        return {"type": self.type.value} | {name: value for name, value in self.args.items() if name in _WORDS}


def _option(name: str, value: str) -> str:
    if name in _SWITCHES:
        return f"--{name}" if value == "true" else f"--no-{name}"
    return f"--{name}={value}"
