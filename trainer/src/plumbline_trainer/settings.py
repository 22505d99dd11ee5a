"""What a stage takes from its surroundings: where summary and progress go, its nodes, the environment of libraries.

Read once, by `main`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plumbline_api.names import ENV_SIGNING_KEY, ENV_TERMINATION_LOG, ENV_TRUST, ENV_WORK_STAYS
from plumbline_store import Reporter, Silence, reporter_from
from plumbline_trainer.failures import BadConfiguration, BadSpec
from plumbline_trainer.world import Nodes, read_nodes

if TYPE_CHECKING:
    from plumbline_store.signing import SigningKey, Trust

__all__ = [
    "Settings",
    "Signatures",
    "library_environment",
    "read_settings",
    "read_signatures",
    "read_trust",
    "termination_log",
]

KUBERNETES_TERMINATION_LOG = "/dev/termination-log"


@dataclass(frozen=True)
class Signatures:
    """Whose signatures inputs need, and what the output is signed with; by default neither."""

    trust: "Trust | None" = None
    key: "SigningKey | None" = None

    @property
    def of_outputs(self) -> "Trust | None":
        """Whose signatures a result of an earlier stage, or its checkpoint, needs: who signs trusts at least itself."""
        return self.trust or (None if self.key is None else self.key.trust)


@dataclass(frozen=True)
class Settings:
    """Where to write what others read."""

    termination_log: Path
    progress: Reporter
    another_reporter: Callable[[], Reporter] = Silence
    """Makes the same again, for a process that is started to train."""
    work_stays: bool = False
    """Whether the next attempt finds the work folder as this one leaves it."""
    nodes: Callable[[], Nodes] = Nodes
    """The pods of this Job; raises BadConfiguration where what is told of them makes no sense."""
    signatures: Callable[[], Signatures] = Signatures
    """Reads the keys; raises as `read_signatures` does."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment."""
    return Settings(
        termination_log=termination_log(environment),
        progress=reporter_from(environment),
        another_reporter=partial(reporter_from, environment),
        work_stays=bool(environment.get(ENV_WORK_STAYS)),
        nodes=partial(read_nodes, environment),
        signatures=partial(read_signatures, environment),
    )


def termination_log(environment: Mapping[str, str]) -> Path:
    """Where the summary goes."""
    return Path(environment.get(ENV_TERMINATION_LOG) or KUBERNETES_TERMINATION_LOG)


def read_trust(environment: Mapping[str, str]) -> "Trust | None":
    """The keys that inputs must be signed by; None where nobody asks for that.

    Raises:
        KeyUnusable: It is asked for, and there is no such key.
    """
    if ENV_TRUST not in environment:
        return None
    from plumbline_store.signing import Trust

    return Trust.parse(environment[ENV_TRUST], ENV_TRUST)


def read_signatures(environment: Mapping[str, str]) -> Signatures:
    """Whose signatures inputs need, and what the output is signed with.

    Raises:
        KeyUnusable: A key is none.
        BadSpec: Only signed artifacts are trusted, and the output would be none.
        BadConfiguration: The output would be signed by a key that is not trusted.
    """
    trust, path = read_trust(environment), environment.get(ENV_SIGNING_KEY)
    if path is None:
        if trust is not None:
            fact = "only signed models are trusted here, and this run would make an unsigned one"
            raise BadSpec(f"spec.output.sign: {fact}; name the Secret with the signing key")
        return Signatures()
    from plumbline_store.signing import SigningKey

    key = SigningKey.read(Path(path))
    if trust is not None and key.name not in trust.names:
        fact = f"its key sha256:{key.name[:12]} is not one of the {len(trust.names)} that are trusted here"
        raise BadConfiguration(f"spec.output.sign: {fact}; sign with one of these, or have it trusted")
    return Signatures(trust, key)


def library_environment(threads: int, gpus: int, work: Path) -> dict[str, str]:
    """What must be in the environment before torch and its companions are imported.

    A waiting OpenMP thread must not spin: on shared cores that makes a step ten times slower. The hub is never asked,
    libraries report nothing to anybody (progress is ours to tell), and what they write lands in the work folder.
    Matrix tiles (AMX) stay unused: some virtual machines announce them and kill the program (SIGILL) at its first bf16
    product. GPUs that nobody asked for stay unseen, because results must not depend on what is plugged in; with those
    that were, matrix products use a workspace of fixed size, without which their results vary (cuBLAS, section 2.1.4).
    """
    gpu = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if gpus else {"CUDA_VISIBLE_DEVICES": ""}
    return gpu | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
        "TOKENIZERS_PARALLELISM": "true",
        "RAYON_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "TQDM_DISABLE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HOME": str(work / "cache"),
        "TMPDIR": str(work / "tmp"),
    }
