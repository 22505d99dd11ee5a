"""The client of an S3 server, and what goes wrong with it in plain words. Used by `bucket` alone.

Where the server is, whom to trust and who we are is botocore's to find: in the environment, in files, in the cloud.
Messages name the address, the error's code and the remedy, and never a header, a key or a signature.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
)
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from plumbline_store.errors import NoSpace, NotPermitted, StoreError, Unavailable

__all__ = ["S3Client", "code_of", "in_s3_words", "make_client"]

S3Client = Any
"""botocore makes its clients at run time, from a description of the service."""

CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60
CONNECTIONS: Final = 16
_DEFAULTS: Final[Mapping[str, tuple[str, str, object, Callable[[str], object] | None]]] = {
    # Contents have a sha256 of their own. The other checksums are trailers, which Ceph's gateway 16 refuses over TLS.
    "request_checksum_calculation": (
        "request_checksum_calculation",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
        "when_required",
        None,
    ),
    "response_checksum_validation": (
        "response_checksum_validation",
        "AWS_RESPONSE_CHECKSUM_VALIDATION",
        "when_required",
        None,
    ),
    "max_attempts": ("max_attempts", "AWS_MAX_ATTEMPTS", 5, int),
}
"""Ours in place of botocore's where nobody says otherwise: name in the file, variable, value, and how it is read."""


def make_client(place: str) -> S3Client:
    """A client for any number of threads; raises StoreError where the settings are no good."""
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
    )
    # It tells where it has found credentials, and below that what it signs.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    with in_s3_words(place):
        session = Session(session_vars=dict(_DEFAULTS))
        session.register_component("data_loader", _descriptions())
        return boto3.Session(botocore_session=session).client("s3", config=config)


@cache
def _descriptions() -> Loader:
    """What botocore knows of S3; it takes longer to read than all the rest of a client."""
    return create_loader()


@contextmanager
def in_s3_words(place: str) -> Iterator[None]:
    """Turn what an S3 client raises about `place` into the StoreError that tells it."""
    try:
        yield
    except ClientError as error:
        raise _explain_answer(error, place) from error
    except (BotoCoreError, ValueError, OSError) as error:
        raise _explain_failure(error, place) from error


def code_of(error: ClientError) -> str:
    """The server's word for what is wrong, or the HTTP status where it had none."""
    return str(error.response.get("Error", {}).get("Code", ""))


_IDENTITY: Final = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the Secret that they come from"
_RIGHTS: Final = "let these credentials list the bucket, and get, put and delete objects under this prefix"
_REGION: Final = "set AWS_DEFAULT_REGION to that of the bucket"
_AGAIN: Final = "it is tried again; if it stays so, look at the server"
_NETWORK: Final = (
    "check AWS_ENDPOINT_URL_S3, that the server is up, and that network policies let it be reached (workloads.egress)"
)
_ANSWERS: Final[Mapping[str, tuple[type[StoreError], str, str]]] = {
    "NoSuchBucket": (StoreError, "there is no such bucket", "create it, or correct the address"),
    "InvalidBucketName": (StoreError, "this is no name of a bucket", "correct the address"),
    "PermanentRedirect": (
        StoreError,
        "the bucket is in another region",
        _REGION,
    ),
    "AuthorizationHeaderMalformed": (
        StoreError,
        "the request was signed for another region",
        _REGION,
    ),
    "RequestTimeTooSkewed": (
        StoreError,
        "this machine's clock and the server's differ by too much",
        "set both by the same time server (NTP), then run again",
    ),
    "AccessDenied": (NotPermitted, "access refused", _RIGHTS),
    "403": (NotPermitted, "access refused", _RIGHTS),
    "AllAccessDisabled": (NotPermitted, "access refused", _RIGHTS),
    "InvalidAccessKeyId": (NotPermitted, "the server does not know the access key", _IDENTITY),
    "SignatureDoesNotMatch": (NotPermitted, "the secret key is not that of the access key", _IDENTITY),
    "ExpiredToken": (NotPermitted, "the credentials have expired", "renew them"),
    "InvalidToken": (NotPermitted, "the session token is not valid", _IDENTITY),
    "QuotaExceeded": (NoSpace, "a quota of the object store is used up", "raise it or delete what nobody needs"),
    "EntityTooLarge": (NoSpace, "the server takes no object of this size", "raise its limit"),
    "InsufficientStorage": (NoSpace, "the object store is full", "add capacity or delete what nobody needs"),
    "XMinioStorageFull": (NoSpace, "the object store is full", "add capacity or delete what nobody needs"),
    "NotImplemented": (
        StoreError,
        "the server cannot write only where there is nothing (If-None-Match)",
        "use one that can: Ceph 16, AWS S3, MinIO of 2024 or newer",
    ),
}


def _explain_answer(error: ClientError, place: str) -> StoreError:
    code, status = code_of(error), _status(error)
    known = _ANSWERS.get(code)
    if known is None and status == _HTTP_FULL:
        known = _ANSWERS["InsufficientStorage"]
    if known is not None:
        kind, fact, remedy = known
        return kind(place, f"{fact} ({code or status})", remedy)
    if status >= _HTTP_SERVER or code in _BUSY:
        return Unavailable(place, f"the object store cannot do it at the moment ({code or status})", _AGAIN)
    return StoreError(place, f"the object store refused ({code or status})", "its log says why")


_HTTP_SERVER: Final = 500
_HTTP_FULL: Final = 507
_BUSY: Final = frozenset({"SlowDown", "RequestTimeout", "ServiceUnavailable", "TooManyRequests", "429", "408"})


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _explain_failure(error: Exception, place: str) -> StoreError:
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            fact = "there are no credentials for the object store"
            remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; in a cluster, name their Secret"
            return StoreError(place, fact, f"{remedy} in the chart's store.s3.credentialsSecret")
        case CredentialRetrievalError():
            return Unavailable(place, "the service that gives credentials does not answer", _AGAIN)
        case SSLError():
            return StoreError(place, *_explain_certificate(str(error)))
        case ParamValidationError():
            return StoreError(place, "the object store's client refuses this address", "write s3://bucket/prefix")
        case ConnectionError() | HTTPClientError() | IncompleteReadError() | OSError():
            return Unavailable(place, f"the object store cannot be reached ({type(error).__name__})", _NETWORK)
        case _:
            fact = f"the settings of the object store's client are no good ({type(error).__name__})"
            return StoreError(place, fact, "check the variables that begin with AWS_, and the files in ~/.aws")


def _explain_certificate(text: str) -> tuple[str, str]:
    if "hostname" in text.lower() or "not valid for" in text:
        return "the server's certificate is for another name", "use that name in AWS_ENDPOINT_URL_S3"
    if "expired" in text or "not yet valid" in text:
        return "the server's certificate is not valid at this time", "renew it, or set this machine's clock"
    remedy = "give the authority's certificate in AWS_CA_BUNDLE; in a cluster, in the chart's store.s3.caConfigMap"
    return "the server's certificate is from an unknown authority", remedy
