"""What the operator is told when it starts: by flags, by the environment, and by one file about the pods it makes.

Everything is checked at once. What would make the operator slower than 100 objects a second is refused, not obeyed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from plumbline_api.model import Document
from plumbline_api.names import Image
from plumbline_api.scalars import Name
from plumbline_operator.kube.lease import LeaseTimes
from plumbline_operator.observed import ObjectStore, Runtime
from plumbline_store import KeyUnusable

__all__ = ["BadSettings", "KubeSettings", "PodSettings", "ProgressSettings", "check_settings", "settings_from"]

M = TypeVar("M", bound=BaseModel)

LEAST_WORKERS: Final = 16
"""An object takes three calls in a row, at 50 ms each where the server is busy: 16 at a time are 100 a second."""
MOST_WORKERS: Final = 512
LEAST_POLL: Final = 1.0
LEAST_RESYNC: Final = 60.0
"""10,000 objects a minute are all that one core should spend on looking at what has not changed."""
PATIENCE: Final = 15.0
"""Seconds; what a commit or a folder brings is applied within less."""
LINGER: Final = 10
"""Seconds; by then every node knows that a pod is going, and sends nobody to it any more."""
_BY_DIGEST: Final = re.compile(r"^\S+@sha256:[0-9a-f]{64}$")


class BadSettings(Exception):
    """Settings that cannot be obeyed; one sentence each, with the remedy."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ReportingSettings(Document):
    """How the pods of Jobs reach the operator's status endpoint."""

    url: Annotated[str, Field(max_length=512, pattern=r"^https://[^/]+/?$")]
    """Its address, a Service's, without a path."""
    egress: Annotated[tuple[dict[str, Any], ...], Field(max_length=8)] = ()
    """Egress rules of a NetworkPolicy that let a pod reach it; added where there are such rules at all."""


class ObjectStoreSettings(Document):
    """How pods reach a store of scheme s3; all names are of objects in the namespace of each run."""

    endpoint: Annotated[str, Field(max_length=512, pattern=r"^https?://[^/\s]+/?$")] | None = None
    """The server's URL; left out, that of the cloud."""
    region: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9-]+$")] | None = None
    credentials_secret: Name | None = None
    """The Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; left out, the pods' service accounts must do."""
    ca_config_map: Name | None = None
    """The ConfigMap whose key ca.crt holds the certificates to trust."""
    ca_secret: Name | None = None
    """The same, where it is a Secret."""


class PodSettings(Document):
    """The file about the pods that the operator makes."""

    images: dict[Image, Annotated[str, Field(max_length=512)]]
    """A reference by digest for each of our images, and for vLLM's where the site has it."""
    store: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """URI of the artifact store; the flag wins."""
    store_claim: Name | None = None
    """The PersistentVolumeClaim that holds a store of scheme file."""
    s3: ObjectStoreSettings | None = None
    """How a store of scheme s3 is reached."""
    trust: Annotated[dict[Name, Annotated[str, Field(max_length=4096)]], Field(max_length=16)] = Field(
        default_factory=dict
    )
    """Public keys (PEM, EC P-256), each with a name for people: artifacts must be signed by one of them."""
    service_accounts: dict[Image, Name] = Field(default_factory=dict)
    """By the image that a pod is made for."""
    pull_secrets: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    """Names of the Secrets that images are pulled with."""
    egress: Annotated[tuple[dict[str, Any], ...], Field(max_length=64)] | None = None
    """Egress rules of a NetworkPolicy that every pod gets; an empty list allows nothing."""
    start_deadline: Annotated[int, Field(ge=1)] | None = None
    """Seconds that a pod may need to begin its work."""
    job_sets: bool = True
    """Whether stages of several nodes become JobSets where the cluster serves these."""
    progress: ReportingSettings | None = None
    """Where Jobs report their progress; without it nobody listens, and no pod gets a token."""


def _split(given: object) -> object:
    """Names with commas between them, as a variable has them."""
    return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else given


@dataclass(frozen=True)
class ProgressSettings:
    """How progress comes in; one of `secret` and `certificate` says where the certificate is from."""

    url: str
    """What pods are told, without a path."""
    egress: tuple[Mapping[str, Any], ...] = ()
    port: int = 8443
    """Where to listen; 0 takes a free one."""
    secret: str = ""
    """namespace/name of the Secret with an authority of the operator's own, which makes it where there is none."""
    certificate: Path | None = None
    """A folder with tls.crt, tls.key and ca.crt, which somebody else renews."""


@dataclass(frozen=True)
class KubeSettings:
    """Everything. Times are in seconds."""

    runtime: Runtime
    namespaces: tuple[str, ...] = ()
    """What is watched; none stands for all."""
    identity: str = "plumbline"
    """Names this replica in leases and events."""
    lease_namespace: str | None = None
    """Where the lease is; None does without one, for a single replica."""
    lease_name: str = "plumbline-operator"
    lease: LeaseTimes = field(default_factory=LeaseTimes)
    host: str = ""
    port: int = 8080
    """Of metrics and probes; 0 takes a free one."""
    workers: int = 48
    resync: float = 600.0
    """Every object is looked at once in this time, whatever happens to it."""
    relist: float = 600.0
    """Every watch is compared with a whole list once in this time."""
    poll: float = 20.0
    """Every ConfigMap of a user's that is named is looked at once in this time, and which kinds the cluster serves."""
    job_sets: bool = True
    """Whether stages of several nodes become JobSets where the cluster serves these."""
    check_permissions: bool = True
    progress: ProgressSettings | None = None
    """None where nobody listens to what Jobs report."""


def check_settings(settings: KubeSettings) -> None:
    """Raise BadSettings where something cannot be obeyed."""
    problems = tuple(_problems(settings))
    if problems:
        raise BadSettings(problems)


def _problems(settings: KubeSettings) -> Iterator[str]:
    if not LEAST_WORKERS <= settings.workers <= MOST_WORKERS:
        yield f"workers: {settings.workers} is not in {LEAST_WORKERS} to {MOST_WORKERS}; fewer cannot do 100 objects/s"
    for name, seconds, least in (
        ("resync", settings.resync, LEAST_RESYNC),
        ("relist", settings.relist, LEAST_RESYNC),
        ("poll", settings.poll, LEAST_POLL),
    ):
        if seconds < least:
            yield f"{name}: {seconds:g} s is less than {least:g}; looking again would take all the time"
    times = settings.lease
    if not 0 < 2 * times.period < times.deadline < times.duration:
        yield (
            f"lease: period {times.period:g}, deadline {times.deadline:g} and duration {times.duration:g} s must grow, "
            "and two periods must fit into the deadline"
        )
    if not 0 <= settings.port <= 65535:
        yield f"port: {settings.port} is no port"
    if settings.progress is not None:
        yield from _progress_problems(settings.progress)
    yield from _store_problems(settings.runtime)
    yield from _image_problems(settings.runtime.images)


def _store_problems(runtime: Runtime) -> Iterator[str]:
    scheme, access = runtime.store.partition("://")[0], runtime.object_store
    if scheme not in ("file", "s3"):
        yield f"store: {runtime.store or 'nothing'} is no address of a store; write s3://bucket/prefix or file:///path"
    if scheme != "s3" and access is not None:
        yield f"s3: the store {runtime.store} is no object store; leave s3 out, or write s3://bucket/prefix"
    if access is not None and access.authority_config_map is not None and access.authority_secret is not None:
        yield "s3: caConfigMap and caSecret exclude each other; leave one out"


def _progress_problems(progress: ProgressSettings) -> Iterator[str]:
    if not 0 <= progress.port <= 65535:
        yield f"progress_port: {progress.port} is no port"
    if progress.certificate is None and not re.fullmatch(r"[a-z0-9.-]+/[a-z0-9.-]+", progress.secret):
        yield f"progress_secret: {progress.secret or 'nothing'} names no Secret; write namespace/name"


def _image_problems(images: Mapping[Image, str]) -> Iterator[str]:
    for image in Image:
        reference = images.get(image)
        if reference is None:
            if image.required:
                yield f"images: {image.value} is missing; give its reference by digest"
        elif not _BY_DIGEST.match(reference):
            yield f"images: {image.value} is {reference}, which names no digest; write repository@sha256:..."


def settings_from(environ: Mapping[str, str], **flags: object) -> KubeSettings:
    """The settings, checked: flags that are not None win over PLUMBLINE_* variables, and these over the defaults.

    Args:
        environ: PLUMBLINE_PODS (the file about pods, or its text) and, each optional, PLUMBLINE_STORE,
            PLUMBLINE_NAMESPACES (with commas; all if empty), PLUMBLINE_IDENTITY, PLUMBLINE_LEASE_NAMESPACE,
            PLUMBLINE_LEASE_NAME, PLUMBLINE_HOST, PLUMBLINE_PORT, PLUMBLINE_WORKERS, PLUMBLINE_RESYNC; and where
            the file about pods has `progress`, PLUMBLINE_PROGRESS_PORT, PLUMBLINE_PROGRESS_SECRET (namespace/name) or
            PLUMBLINE_PROGRESS_CERTIFICATE (a folder), see ProgressSettings.
        flags: The same names in lower case without the prefix.

    Raises:
        BadSettings: with all that is wrong.
    """
    found = {
        name: environ[f"PLUMBLINE_{name.upper()}"]
        for name in _Flags.model_fields
        if f"PLUMBLINE_{name.upper()}" in environ
    }
    given = found | {name: value for name, value in flags.items() if value is not None}
    wanted = _read(lambda: _Flags.model_validate({name: value for name, value in given.items() if value != ""}))
    pods = _read(lambda: PodSettings.read(_text(wanted.pods)))
    settings = KubeSettings(
        runtime=_runtime(pods, wanted.store),
        namespaces=wanted.namespaces,
        identity=wanted.identity,
        lease_namespace=wanted.lease_namespace,
        lease_name=wanted.lease_name,
        host=wanted.host,
        port=wanted.port,
        workers=wanted.workers,
        resync=wanted.resync,
        job_sets=pods.job_sets,
        progress=_progress(pods, wanted),
    )
    check_settings(settings)
    return settings


class _Flags(BaseModel):
    """Flags and variables: texts, read as what they stand for."""

    model_config = ConfigDict(extra="forbid")

    pods: str = ""
    store: str | None = None
    namespaces: Annotated[tuple[Name, ...], BeforeValidator(_split)] = ()
    identity: Annotated[str, Field(max_length=128)] = KubeSettings.identity
    lease_namespace: Name | None = None
    lease_name: Name = KubeSettings.lease_name
    host: str = KubeSettings.host
    port: int = KubeSettings.port
    workers: int = KubeSettings.workers
    resync: float = KubeSettings.resync
    progress_port: int = ProgressSettings.port
    progress_secret: str = ""
    progress_certificate: str = ""


def _read(read: Callable[[], M]) -> M:
    try:
        return read()
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise BadSettings(tuple(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)) from error


def _text(pods: str) -> str:
    if not pods:
        raise BadSettings(("pods: no file was given; name one, or give its JSON text in PLUMBLINE_PODS",))
    if pods.lstrip().startswith("{"):
        return pods
    try:
        return Path(pods).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings((f"pods: {pods} cannot be read ({error}); check its path and mode",)) from error


def _runtime(pods: PodSettings, store: str | None) -> Runtime:
    return Runtime(
        images=pods.images,
        store=store or pods.store or "",
        store_claim=pods.store_claim,
        object_store=_object_store(pods.s3),
        trust=_trust(pods.trust),
        service_accounts=pods.service_accounts,
        pull_secrets=pods.pull_secrets,
        egress=pods.egress,
        start_deadline=pods.start_deadline,
        beside=True,
        linger=LINGER,
        patience=PATIENCE,
    )


def _trust(keys: Mapping[str, str]) -> str | None:
    """The keys as pods are told them, checked here: a wrong one would stop every pod."""
    if not keys:
        return None
    from plumbline_store.signing import Trust

    try:
        return Trust.parse(
            "".join(Trust.parse(text, f"trust.{name}").text for name, text in keys.items()), "trust"
        ).text
    except KeyUnusable as error:
        raise BadSettings((str(error),)) from error


def _object_store(given: ObjectStoreSettings | None) -> ObjectStore | None:
    if given is None:
        return None
    return ObjectStore(
        endpoint=given.endpoint,
        region=given.region,
        credentials=given.credentials_secret,
        authority_config_map=given.ca_config_map,
        authority_secret=given.ca_secret,
    )


def _progress(pods: PodSettings, wanted: _Flags) -> ProgressSettings | None:
    if pods.progress is None:
        return None
    return ProgressSettings(
        url=pods.progress.url,
        egress=pods.progress.egress,
        port=wanted.progress_port,
        secret=wanted.progress_secret,
        certificate=Path(wanted.progress_certificate) if wanted.progress_certificate else None,
    )
