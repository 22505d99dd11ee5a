"""`plumbline-evaluator checkout`, as a program: the model verified in a folder, or a summary that says why not."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.names import ENV_TERMINATION_LOG, ENV_TRUST, ExitCode
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_store import Store, open_store
from tests.support.signing import Pair, make_pair
from tests.unit.store.places import FolderPlaces, flip

pytestmark = pytest.mark.local

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 64}


@dataclass(frozen=True)
class Site:
    """A store with one model, and what a container would be given."""

    folder: Path
    store: Store
    digest: str

    def check_out(self, digest: str = "", **environment: str) -> tuple[int, Summary | None]:
        """The exit code, and the summary where one was left."""
        program = str(Path(sys.executable).with_name("plumbline-evaluator"))
        log = self.folder / "summary"
        command = [program, "checkout", "--model", self.store.uri, "--digest", digest or self.digest]
        done = subprocess.run(
            [*command, "--into", str(self.into)],
            env={**os.environ, **environment, ENV_TERMINATION_LOG: str(log)},
            check=False,
            timeout=30,
        )
        return done.returncode, Summary.read(log.read_bytes()) if log.exists() else None

    @property
    def into(self) -> Path:
        return self.folder / "volume/files"

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.into.iterdir()} if self.into.exists() else {}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    store = open_store((tmp_path / "store").as_uri())
    return Site(tmp_path, store, store.publish_bytes(FILES, MediaType.MODEL).digest)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path / "keys")


def test_a_model_is_put_into_a_folder_and_a_second_time_verified(site: Site) -> None:
    assert site.check_out() == (ExitCode.OK, None)
    assert site.files == FILES
    assert site.check_out() == (ExitCode.OK, None)
    (site.into / "config.json").write_bytes(b"{ }")
    code, summary = site.check_out()
    assert (code, reason_of(summary)) == (ExitCode.BAD_CONFIG, Reason.BAD_CONFIGURATION)


def test_one_flipped_bit_is_told_and_leaves_nothing_to_load(site: Site) -> None:
    places = FolderPlaces(site.folder / "store")
    (weights,) = [file for file in site.store.manifest(site.digest).files if file.path == "model.safetensors"]
    flip(places, f"blobs/sha256/{weights.sha256[:2]}/{weights.sha256}", 100)
    code, summary = site.check_out()
    assert (code, reason_of(summary)) == (ExitCode.BAD_DATA, Reason.DIGEST_MISMATCH)
    assert site.files == {}


def test_a_model_that_nobody_trusted_has_signed_is_not_given_out(site: Site, pair: Pair, tmp_path: Path) -> None:
    site.store.sign(site.digest, make_pair(tmp_path / "others").key)
    code, summary = site.check_out(**{ENV_TRUST: pair.public})
    assert (code, reason_of(summary)) == (ExitCode.BAD_DATA, Reason.SIGNATURE_INVALID)
    assert site.files == {}
    site.store.sign(site.digest, pair.key)
    (site.folder / "summary").unlink()
    assert site.check_out(**{ENV_TRUST: pair.public}) == (ExitCode.OK, None)
    assert site.files == FILES


@pytest.mark.parametrize(
    ("digest", "code", "fact"),
    [("latest", ExitCode.BAD_CONFIG, "--digest"), (f"sha256:{'0' * 64}", ExitCode.BAD_DATA, "sha256:000")],
    ids=["no digest", "a digest that is not there"],
)
def test_what_cannot_be_checked_out_is_told(site: Site, digest: str, code: int, fact: str) -> None:
    found, summary = site.check_out(digest)
    assert summary is not None
    assert (found, summary.result) == (code, Result.FAILED)
    assert fact in summary.message


def reason_of(summary: Summary | None) -> Reason | None:
    return None if summary is None else summary.reason
