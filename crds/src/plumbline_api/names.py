"""Every string that two programs must agree on, each with who writes it and who reads it."""

import hashlib
from enum import StrEnum
from typing import Final

__all__ = [
    "API_VERSION",
    "APPROVE_ANNOTATION",
    "AUTHORITY_FILE",
    "CATEGORY",
    "CONTAINER_ENGINE",
    "CONTAINER_GUARD",
    "CONTAINER_MODEL",
    "CONTAINER_WORKER",
    "ENV_HOST",
    "ENV_MASTER_ADDRESS",
    "ENV_MASTER_PORT",
    "ENV_NODES",
    "ENV_NODE_RANK",
    "ENV_PROGRESS",
    "ENV_SIGNING_KEY",
    "ENV_STATUS_AUTHORITY",
    "ENV_STATUS_TOKEN",
    "ENV_STATUS_URL",
    "ENV_TERMINATION_LOG",
    "ENV_TRUST",
    "ENV_WORK_STAYS",
    "FIELD_MANAGER",
    "GROUP",
    "INPUTS_CONFIG_MAP",
    "INPUTS_KEY",
    "LABEL_GANG",
    "LABEL_GATE",
    "LABEL_MANAGED_BY",
    "LABEL_OWNER",
    "LABEL_OWNER_KIND",
    "LABEL_PURPOSE",
    "LABEL_QUEUE",
    "LABEL_QUEUE_PRIORITY",
    "LABEL_REVISION",
    "LABEL_STAGE",
    "LABEL_SUBJECT",
    "LABEL_SUITE",
    "MOUNT_MODEL",
    "MOUNT_POLICY",
    "MOUNT_RUN",
    "MOUNT_SCRATCH",
    "MOUNT_SIGNING",
    "MOUNT_STATUS",
    "MOUNT_STORE_AUTHORITY",
    "MOUNT_WORK",
    "OVERRIDE_ANNOTATION",
    "PLURALS",
    "POLICY_FILE",
    "PORT_ENGINE",
    "PORT_GUARD",
    "PORT_MASTER",
    "RETRY_ANNOTATION",
    "RULES_KEY",
    "RUN_FILE",
    "SHORT_NAMES",
    "SIGNING_KEY_FILE",
    "STATUS_LIMIT_BYTES",
    "SUMMARY_LIMIT_BYTES",
    "TOKEN_FILE",
    "VERSION",
    "VOLUME_STATUS",
    "ExitCode",
    "Image",
    "Kind",
    "Purpose",
    "child_name",
    "gang_name",
    "port_variable",
    "short_hash",
    "status_audience",
    "status_path",
]  # fmt: skip

GROUP: Final = "plumbline.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
"""Written by users in `apiVersion`; read by whoever parses a manifest."""

FIELD_MANAGER: Final = "plumbline"
"""Field owner of everything the operator applies."""

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
"""On every child, with the value of FIELD_MANAGER; what the operator's watches select."""
LABEL_OWNER: Final = f"{GROUP}/owner"
"""On every child: the name of the object it was made for; read when children are observed."""
LABEL_OWNER_KIND: Final = f"{GROUP}/owner-kind"
"""On every child: the kind of that object."""
LABEL_PURPOSE: Final = f"{GROUP}/purpose"
"""On Jobs: a Purpose."""
LABEL_STAGE: Final = f"{GROUP}/stage"
"""On stage Jobs: the name of the stage."""
LABEL_SUITE: Final = f"{GROUP}/suite"
"""On evaluation Jobs: the RedTeamSuite they execute; read by the suite's own status."""
LABEL_GANG: Final = f"{GROUP}/gang"
"""On pods that train together: the Job or JobSet they are part of. Read by its Service and its NetworkPolicy."""
LABEL_GATE: Final = f"{GROUP}/gate"
"""On served Deployments: the EvalGate that let them pass."""
LABEL_SUBJECT: Final = f"{GROUP}/subject"
"""On evaluation Jobs and served pods: the first 12 digits of the model's digest."""
LABEL_REVISION: Final = f"{GROUP}/revision"
"""On served pods, and in the selector of their Deployment alone: which content they serve, and how."""
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""On stage Jobs and nothing else: the queue that admits them. Read by Kueue."""
LABEL_QUEUE_PRIORITY: Final = "kueue.x-k8s.io/priority-class"
"""On stage Jobs and nothing else: Kueue's WorkloadPriorityClass."""

RETRY_ANNOTATION: Final = f"{GROUP}/retry"
"""Written by people (`plumbline retry`): a nonce; a new value starts a new attempt of a failed object."""
APPROVE_ANNOTATION: Final = f"{GROUP}/approve"
"""Written by people: their name as the API server knows it, ": " and a reason. An admission policy checks the name."""
OVERRIDE_ANNOTATION: Final = f"{GROUP}/override"
"""As APPROVE_ANNOTATION, for what a gate has refused."""

MOUNT_RUN: Final = "/plumbline/run"
"""Where a Job finds its RunFile."""
MOUNT_WORK: Final = "/plumbline/work"
"""Scratch space and checkpoints of a Job."""
MOUNT_MODEL: Final = "/plumbline/model"
"""Where an engine that knows no store finds its model, written by the container that was there before it."""
MOUNT_SCRATCH: Final = "/tmp"  # noqa: S108 - a volume of the pod's own
"""Where any program of a pod may write; everything else but MOUNT_WORK is read-only."""
MOUNT_POLICY: Final = "/plumbline/policy"
"""Where the guard finds its PolicyFile."""
MOUNT_STATUS: Final = "/plumbline/status"
"""Where a Job finds the token that it reports with."""
MOUNT_STORE_AUTHORITY: Final = "/plumbline/store-authority"
"""Where a pod finds the certificates that it trusts an object store by."""
MOUNT_SIGNING: Final = "/plumbline/signing"
"""Where a stage that signs finds its key."""
SIGNING_KEY_FILE: Final = "signing.key"
"""The key, in both senses, of the Secret that a run names to sign with."""
TOKEN_FILE: Final = "token"  # noqa: S105 - the name of a file
VOLUME_STATUS: Final = "status"
"""The volume with that token, in the pods of Jobs that report. Read when pods are observed: no other can be silent."""
AUTHORITY_FILE: Final = "ca.crt"
"""Certificates to trust: in the ConfigMap of a Job that reports, and in that or the Secret of an object store."""
RUN_FILE: Final = "run.json"
POLICY_FILE: Final = "policy.json"
RULES_KEY: Final = "rules.yaml"
"""The key of a ConfigMap that holds guard rules."""
INPUTS_CONFIG_MAP: Final = "plumbline-inputs"
"""In each namespace of a cluster: which digest the files have that manifests name. Written by `plumbline push`."""
INPUTS_KEY: Final = "inputs.yaml"
"""The key of that ConfigMap: a mapping from paths, as the manifests write them, to digests in the store."""

ENV_TERMINATION_LOG: Final = "PLUMBLINE_TERMINATION_LOG"
"""Set by whoever runs a container elsewhere than in a pod: where the Report summary goes."""
ENV_WORK_STAYS: Final = "PLUMBLINE_WORK_STAYS"
"""Set, to anything, by whoever keeps a Job's work folder between attempts; a pod's ends with it."""
ENV_PROGRESS: Final = "PLUMBLINE_PROGRESS"
"""A file to which a Job appends Progress lines; absent where nobody looks."""
ENV_STATUS_URL: Final = "KUBEFLOW_TRAINER_SERVER_URL"
"""Where a Job posts its progress. This and the next two have Kubeflow's names, so transformers reports by itself."""
ENV_STATUS_AUTHORITY: Final = "KUBEFLOW_TRAINER_SERVER_CA_CERT"
"""The file with the certificate of the authority that the endpoint's is from."""
ENV_STATUS_TOKEN: Final = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # noqa: S105 - the name of a variable
"""The file with the token; it is renewed while the Job is at work."""
STATUS_LIMIT_BYTES: Final = 8192
"""The longest report that the status endpoint reads."""
ENV_SIGNING_KEY: Final = "PLUMBLINE_SIGNING_KEY"
"""The file with the private key that a stage signs its output with; absent where nothing is signed."""
ENV_TRUST: Final = "PLUMBLINE_TRUST"
"""Public keys, as PEM texts one after the other, of which one must have signed an artifact; absent where none must."""
ENV_HOST: Final = "PLUMBLINE_HOST"
"""The address on which a guard listens: all in a pod, loopback where there is none."""
ENV_NODES: Final = "PET_NNODES"
"""Set for pods that train together, by the name that torch's own launcher reads: how many there are."""
ENV_NODE_RANK: Final = "PET_NODE_RANK"
"""Which of them this is, from 0 on; 0 leads, publishes and leaves the summary."""
ENV_MASTER_ADDRESS: Final = "PET_MASTER_ADDR"
"""Where the one of rank 0 is."""
ENV_MASTER_PORT: Final = "PET_MASTER_PORT"
"""The port on which it waits for the others."""
SUMMARY_LIMIT_BYTES: Final = 4096
"""What Kubernetes keeps of a termination message."""

CONTAINER_WORKER: Final = "worker"
CONTAINER_ENGINE: Final = "engine"
CONTAINER_GUARD: Final = "guard"
CONTAINER_MODEL: Final = "model"
"""Checks the model out of the store, for an engine that knows no store."""
PORT_ENGINE: Final = "engine"
PORT_GUARD: Final = "guard"
PORT_MASTER: Final = "master"


class Kind(StrEnum):
    """The four kinds of the group."""

    ALIGNMENT_RUN = "AlignmentRun"
    """Turn a model and data into an aligned model."""
    RED_TEAM_SUITE = "RedTeamSuite"
    """Attacks and benign twins, and how answers are judged."""
    EVAL_GATE = "EvalGate"
    """Rules that a model must satisfy."""
    GUARDED_INFERENCE = "GuardedInference"
    """Serve what passed, behind a guard."""


SHORT_NAMES: Final = {
    Kind.ALIGNMENT_RUN: "alr",
    Kind.RED_TEAM_SUITE: "rts",
    Kind.EVAL_GATE: "egt",
    Kind.GUARDED_INFERENCE: "gin",
}
"""What people type for a kind."""
PLURALS: Final = {kind: f"{kind.lower()}s" for kind in Kind}
"""What the API server calls the objects of a kind; in its addresses, in roles, in the names of the CRDs."""
CATEGORY: Final = "plumbline"
"""What people type for all kinds together: `kubectl get plumbline`."""


class Image(StrEnum):
    """The images that the operator injects; the operator's settings give each a reference by digest."""

    TRAINER = "trainer"
    """plumbline-trainer."""
    EVALUATOR = "evaluator"
    """plumbline-evaluator."""
    ENGINE = "engine"
    """plumbline-engine."""
    GUARD = "guard"
    """plumbline-guard."""
    VLLM = "vllm"
    """vLLM's own image, where a site has one: what asks for it elsewhere is refused, and nothing else."""

    @property
    def required(self) -> bool:
        """Whether an installation has to name it."""
        return self is not Image.VLLM


class Purpose(StrEnum):
    """What a Job was made for (LABEL_PURPOSE)."""

    STAGE = "stage"
    """A stage of an AlignmentRun."""
    EVALUATION = "evaluation"
    """A suite against a model, for a gate."""


class ExitCode:
    """What our programs end with (sysexits.h); Jobs map them in podFailurePolicy."""

    OK: Final = 0
    NOT_PASSED: Final = 1
    """`plumbline run`, `plumbline serve`: everything worked, and the answer is no (a gate did not pass)."""
    BAD_SPEC: Final = 64
    BAD_DATA: Final = 65
    UNAVAILABLE: Final = 69
    INTERNAL: Final = 70
    PREEMPTED: Final = 75
    NOT_PERMITTED: Final = 77
    BAD_CONFIG: Final = 78


def short_hash(text: str, digits: int = 10) -> str:
    """The first hexadecimal digits of a sha256, for names."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def child_name(owner: str, role: str, content: str) -> str:
    """A computed name for a child: the same content gives the same name, so creation is idempotent.

    At most 63 characters: the owner (40 at most), a role (11 at most, cut), ten digits of the content's hash.
    """
    return f"{owner[:40].rstrip('-')}-{role[:11].strip('-')}-{short_hash(content)}"


def gang_name(owner: str, role: str, content: str) -> str:
    """A computed name for a Job or JobSet of several pods, from which Kubernetes makes longer names.

    At most 50 characters, so that the names of a JobSet's pods stay within 63, and a letter first, as the names of
    Services and of JobSets need it.
    """
    name = f"{owner[:30].rstrip('-')}-{role[:7].strip('-')}-{short_hash(content)}"
    return name if name[0].isalpha() else f"n{name}"


def port_variable(port_name: str) -> str:
    """The environment variable that carries a declared container port to the programs of its pod."""
    return f"PLUMBLINE_PORT_{port_name.upper().replace('-', '_')}"


def status_path(namespace: str, job: str) -> str:
    """Where, at the operator's status endpoint, a Job posts its progress."""
    return f"/apis/{API_VERSION}/namespaces/{namespace}/jobs/{job}/status"


def status_audience(namespace: str, job: str) -> str:
    """What a token must be made for to report the progress of this Job; good for nothing else."""
    return f"{GROUP}/namespaces/{namespace}/jobs/{job}"
