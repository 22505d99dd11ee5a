"""What a stage takes from its surroundings: where summary and progress go, its nodes, the environment of libraries.

Read once, by `main`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from plumbline_api.names import ENV_TERMINATION_LOG, ENV_WORK_STAYS
from plumbline_store import Reporter, Silence, reporter_from
from plumbline_trainer.world import Nodes, read_nodes

__all__ = ["Settings", "library_environment", "read_settings"]

KUBERNETES_TERMINATION_LOG = "/dev/termination-log"


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


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment."""
    return Settings(
        termination_log=Path(environment.get(ENV_TERMINATION_LOG) or KUBERNETES_TERMINATION_LOG),
        progress=reporter_from(environment),
        another_reporter=partial(reporter_from, environment),
        work_stays=bool(environment.get(ENV_WORK_STAYS)),
        nodes=partial(read_nodes, environment),
    )


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
