"""The engine of a pod, whichever it is: how it starts, what has to be there before, what it may touch. Pure.

Called by plan.evaluation and plan.serving. Plumbline's own engine takes the model out of the store by itself. vLLM is
somebody else's program in somebody else's image and knows no store: a container of ours, which has ended before it
starts, checks the model out, and vLLM gets the folder to read and nothing else.
"""

from dataclasses import dataclass
from typing import Any, Final

from plumbline_api import names
from plumbline_api.compute import Compute
from plumbline_api.engine import Engine, EngineType
from plumbline_api.model import digest_of
from plumbline_api.names import Image, port_variable
from plumbline_api.runfile import Input
from plumbline_operator.observed import Runtime
from plumbline_operator.plan.pods import Manifest, container, port_env, threads

__all__ = ["ENGINE_PORTS", "EnginePlan", "engine_content", "image_of", "images_of", "plan_engine", "software_of"]

ENGINE_PORTS: Final = {names.PORT_ENGINE: 8000}
"""Where an engine listens, on loopback."""
_PORT: Final = f"$({port_variable(names.PORT_ENGINE)})"
_CHECKOUT: Final = Compute(cpu="1")
_MODEL: Final = "model"
_FOLDER: Final = f"{names.MOUNT_MODEL}/files"
"""Below the volume, so that it appears when it is complete."""
_SHARED: Final = "shared-memory"
_SHARED_SIZE: Final = "2Gi"
"""What vLLM's processes, one for each GPU, hand each other is more than the 64 MB that a container has by itself."""
_START_SECONDS: Final = 600
_VLLM_START_SECONDS: Final = 1800
"""vLLM compiles for the GPU that it finds, and loads what may be hundreds of gigabytes."""
_VLLM_ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # Its processes find each other on loopback too, and not at the pod's address.
    "VLLM_HOST_IP": "127.0.0.1",
    # A user without a line in /etc/passwd, whose name torch and others ask for.
    "LOGNAME": "plumbline",
    "USER": "plumbline",
}


@dataclass(frozen=True)
class EnginePlan:
    """An engine, as parts of a pod."""

    container: Manifest
    """The engine itself, a sidecar."""
    preparations: tuple[Manifest, ...] = ()
    """What has to end well before it starts."""
    volumes: tuple[Manifest, ...] = ()
    without_store: frozenset[str] = frozenset()
    """Containers that get neither the store nor the keys that artifacts are signed by."""
    start_seconds: int = _START_SECONDS
    """What it gets to load the model, once everything is there."""


def image_of(engine: Engine) -> Image:
    """The image that the engine runs in."""
    return Image.VLLM if engine.type == EngineType.VLLM else Image.ENGINE


def images_of(engine: Engine) -> tuple[Image, ...]:
    """The images of its containers, those before it included."""
    own = image_of(engine)
    return (own, Image.EVALUATOR) if own == Image.VLLM else (own,)


def engine_content(engine: Engine) -> dict[str, Any]:
    """What digests that depend on an engine's options are made of; nothing where all is as it is by default."""
    told = {"type": engine.type.value, "args": dict(engine.args)}
    return {} if engine.type == EngineType.TRANSFORMERS else {"engineOptions": told}


def software_of(runtime: Runtime, engine: Engine) -> str:
    """Digest of the images that an evaluation is made with. What it found holds for these and for no others."""
    return digest_of({image.value: runtime.images[image] for image in (Image.EVALUATOR, image_of(engine))})


def plan_engine(engine: Engine, model: Input, compute: Compute, runtime: Runtime, *, max_tokens: int) -> EnginePlan:
    """The engine, serving one model on loopback.

    Args:
        engine: Which, and with which options.
        model: Where the model is, and its digest.
        compute: What the engine may use.
        runtime: The images; that of the engine must be among them.
        max_tokens: The longest answer that may be asked for. vLLM is not told: whoever asks it keeps to this.
    """
    if engine.type == EngineType.VLLM:
        return _vllm(engine, model, compute, runtime)
    command = ["plumbline-engine", "--model", model.uri, "--digest", model.digest, "--work", names.MOUNT_WORK]
    command += ["--port", _PORT, "--threads", str(threads(compute)), "--max-tokens", str(max_tokens)]
    made = container(
        names.CONTAINER_ENGINE,
        runtime.images[Image.ENGINE],
        command,
        compute=compute,
        env=port_env(ENGINE_PORTS),
        ports=ENGINE_PORTS,
        mounts={"work": names.MOUNT_WORK},
    )
    return EnginePlan(made)


def _vllm(engine: Engine, model: Input, compute: Compute, runtime: Runtime) -> EnginePlan:
    checkout = container(
        names.CONTAINER_MODEL,
        runtime.images[Image.EVALUATOR],
        ["plumbline-evaluator", "checkout", "--model", model.uri, "--digest", model.digest, "--into", _FOLDER],
        compute=_CHECKOUT,
        mounts={_MODEL: names.MOUNT_MODEL},
    )
    command = ["vllm", "serve", _FOLDER, "--host", "127.0.0.1", "--port", _PORT, "--served-model-name", model.digest]
    if compute.gpu is not None and compute.gpu.count > 1:
        command += ["--tensor-parallel-size", str(compute.gpu.count)]
    served = container(
        names.CONTAINER_ENGINE,
        runtime.images[Image.VLLM],
        [*command, *engine.options],
        compute=compute,
        env=port_env(ENGINE_PORTS) | _VLLM_ENVIRONMENT,
        ports=ENGINE_PORTS,
        mounts={_SHARED: "/dev/shm"},  # noqa: S108 - a volume of the pod's own
    )
    reading = {"name": _MODEL, "mountPath": names.MOUNT_MODEL, "readOnly": True}
    return EnginePlan(
        container={**served, "volumeMounts": [*served["volumeMounts"], reading]},
        preparations=(checkout,),
        volumes=(
            {"name": _MODEL, "emptyDir": {}},
            {"name": _SHARED, "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_SIZE}},
        ),
        without_store=frozenset({names.CONTAINER_ENGINE}),
        start_seconds=_VLLM_START_SECONDS,
    )
