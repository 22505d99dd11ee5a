"""An empty store, in a folder and in a bucket: what the tests demand holds for both."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from plumbline_store import Store, open_store
from tests.support.objectstore import ObjectStore, no_fault, run_object_store
from tests.unit.store.places import BucketPlaces, FolderPlaces, Places


@pytest.fixture(scope="session")
def running_object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with run_object_store(tmp_path_factory.mktemp("object-store")) as server:
        yield server


@pytest.fixture
def object_store(running_object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A server that this process, and those it starts, know how to reach."""
    for name, value in running_object_store.environment().items():
        monkeypatch.setenv(name, value)
    yield running_object_store
    running_object_store.fault = no_fault


@pytest.fixture(scope="session")
def client(running_object_store: ObjectStore) -> Any:
    account, secret = next(iter(running_object_store.accounts.items()))
    return boto3.Session(account, secret, region_name="us-east-1").client(
        "s3",
        endpoint_url=running_object_store.url,
        verify=str(running_object_store.authority),
        config=Config(request_checksum_calculation="when_required"),
    )


@pytest.fixture
def bucket_places(object_store: ObjectStore, client: Any) -> BucketPlaces:
    name = f"models-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return BucketPlaces(client, name)


@pytest.fixture
def folder_places(tmp_path: Path) -> FolderPlaces:
    return FolderPlaces(tmp_path / "store")


@pytest.fixture(params=["folder", "bucket"])
def places(request: pytest.FixtureRequest) -> Places:
    found: Places = request.getfixturevalue(f"{request.param}_places")
    return found


@pytest.fixture
def folder_store(folder_places: FolderPlaces) -> Store:
    """For what has nothing to do with where things are kept."""
    return open_store(folder_places.uri)


@pytest.fixture
def store(places: Places) -> Store:
    return open_store(places.uri)
