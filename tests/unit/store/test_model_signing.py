"""Signatures are those of OpenSSF model signing: its own program verifies ours, and we verify its own."""

from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_store import SignatureInvalid, Store, open_store
from plumbline_store.signing import Trust
from tests.support.signing import Pair, make_pair
from tests.unit.store.places import CONTENT, FolderPlaces

pytestmark = pytest.mark.filterwarnings("ignore")  # the reference program's libraries warn about each other


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path / "keys")


def place_of(digest: str, pair: Pair) -> str:
    return f"signatures/sha256/{digest.removeprefix('sha256:')}/{pair.key.name}.json"


def test_the_reference_program_verifies_what_we_sign_and_refuses_what_was_changed(
    folder_store: Store, folder_places: FolderPlaces, pair: Pair, tmp_path: Path
) -> None:
    from model_signing import verifying

    digest = folder_store.publish_bytes(CONTENT, MediaType.MODEL).digest
    folder_store.sign(digest, pair.key)
    folder = folder_store.checkout(digest, tmp_path / "model")
    signature = tmp_path / "model.sig"
    signature.write_bytes(folder_places.get(place_of(digest, pair)))
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=pair.public_file)
    verifier.verify(folder, signature)
    (folder / "added.txt").write_text("more")
    with pytest.raises(ValueError, match=r"added\.txt"):
        verifier.verify(folder, signature)


def test_we_verify_what_the_reference_program_signs_and_refuse_what_was_changed(
    folder_store: Store, folder_places: FolderPlaces, pair: Pair, tmp_path: Path
) -> None:
    from model_signing import signing

    digest = folder_store.publish_bytes(CONTENT, MediaType.MODEL).digest
    other = folder_store.publish_bytes({**CONTENT, ".gitattributes": b"*"}, MediaType.MODEL).digest
    folder, signature = folder_store.checkout(digest, tmp_path / "model"), tmp_path / "model.sig"
    signing.Config().use_elliptic_key_signer(private_key=pair.key_file).sign(folder, signature)
    assert folder_store.attach(digest, signature.read_bytes()) == pair.key.name
    with pytest.raises(SignatureInvalid, match=r"\.gitattributes was added"):
        folder_store.attach(other, signature.read_bytes())
    folder_places.put(place_of(other, pair), signature.read_bytes())
    wary = open_store(folder_places.uri, Trust.read([pair.public_file]))
    wary.checkout(digest, tmp_path / "again")
    with pytest.raises(SignatureInvalid, match=r"\.gitattributes was added after signing"):
        wary.checkout(other, tmp_path / "other")
