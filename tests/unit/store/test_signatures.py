"""With trust in keys, nothing is handed out but what one of them has signed, file by file."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from plumbline_api.artifact import File, MediaType
from plumbline_api.reasons import Reason
from plumbline_api.report import Result, Summary
from plumbline_store import ArtifactMissing, DigestMismatch, KeyUnusable, SignatureInvalid, Store, open_store
from plumbline_store.signing import SigningKey, Trust
from plumbline_store.statement import ARTIFACT
from tests.support.signing import Pair, make_pair, other_keys
from tests.unit.store.places import CONTENT, Places, blobs, flip

Damage = Callable[[bytes, Pair], bytes]
KEY = "sha256:" + "c" * 64


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path / "keys")


@pytest.fixture
def trust(pair: Pair) -> Trust:
    return Trust.read([pair.public_file])


@pytest.fixture
def wary(places: Places, trust: Trust) -> Store:
    """The same store for one who trusts the key alone."""
    return open_store(places.uri, trust)


def publish(store: Store, kind: MediaType = MediaType.MODEL, **changes: bytes) -> str:
    return store.publish_bytes({**CONTENT, **changes}, kind).digest


def refusal(wary: Store, digest: str, folder: Path) -> str:
    with pytest.raises(SignatureInvalid) as caught:
        wary.checkout(digest, folder / "out")
    assert not (folder / "out").exists()
    with pytest.raises(SignatureInvalid):
        wary.read_file(digest, "config.json")
    assert (caught.value.exit_code, caught.value.reason) == (65, Reason.SIGNATURE_INVALID)
    assert digest in str(caught.value)
    assert "plumbline sign" in str(caught.value)
    return caught.value.fact


@pytest.mark.parametrize("kind", [MediaType.MODEL, MediaType.ADAPTER, MediaType.DATASET])
def test_what_is_signed_is_handed_out_and_keeps_its_digest(
    kind: MediaType, places: Places, store: Store, wary: Store, pair: Pair, tmp_path: Path
) -> None:
    digest = publish(store, kind)
    assert store.sign(digest, pair.key)
    assert not store.sign(digest, pair.key), "it is signed already"
    assert publish(store, kind) == digest
    wary.checkout(digest, tmp_path / "out")
    assert wary.read_file(digest, "config.json") == b"{}"
    assert len(places.keys("signatures/")) == 1


def test_without_trust_nothing_changes(store: Store, tmp_path: Path) -> None:
    store.checkout(publish(store), tmp_path / "out")


def test_what_nobody_signed_is_refused(store: Store, wary: Store, pair: Pair, tmp_path: Path) -> None:
    said = refusal(wary, publish(store), tmp_path)
    assert said == f"it is not signed by any trusted key (sha256:{pair.key.name[:12]})"


def test_a_report_that_somebody_passes_off_as_a_model_is_refused(store: Store, wary: Store, tmp_path: Path) -> None:
    refusal(wary, publish(store, MediaType.REPORT), tmp_path)


def test_another_keys_signature_does_not_count(store: Store, wary: Store, tmp_path: Path) -> None:
    digest = publish(store)
    store.sign(digest, make_pair(tmp_path / "others").key)
    assert "not signed by any trusted key" in refusal(wary, digest, tmp_path)


def test_one_of_several_trusted_keys_is_enough(store: Store, places: Places, pair: Pair, tmp_path: Path) -> None:
    old = make_pair(tmp_path / "old")
    digest = publish(store)
    store.sign(digest, old.key)
    both = Trust.parse(f"{pair.public}\n{old.public}", "here")
    open_store(places.uri, both).checkout(digest, tmp_path / "out")
    store.sign(digest, pair.key)
    open_store(places.uri, Trust.read([pair.public_file])).checkout(digest, tmp_path / "again")


def move(places: Places, signed: str, to: str) -> None:
    """Let the signature of one artifact pass for that of another."""
    (key,) = places.keys(f"signatures/sha256/{signed.removeprefix('sha256:')}")
    places.put(key.replace(signed.removeprefix("sha256:"), to.removeprefix("sha256:")), places.get(key))


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"model.safetensors": b"weightz" * 100}, "the file model.safetensors was altered after signing"),
        ({".gitattributes": b"*"}, "the file .gitattributes was added after signing"),
    ],
)
def test_a_signature_is_good_for_exactly_its_files(
    changes: dict[str, bytes], fact: str, places: Places, store: Store, wary: Store, pair: Pair, tmp_path: Path
) -> None:
    signed, other = publish(store), publish(store, MediaType.MODEL, **changes)
    store.sign(signed, pair.key)
    move(places, signed, other)
    assert fact in refusal(wary, other, tmp_path)


def test_a_file_that_was_signed_and_is_gone_is_missed(
    places: Places, store: Store, wary: Store, pair: Pair, tmp_path: Path
) -> None:
    signed = publish(store)
    less = {path: data for path, data in CONTENT.items() if path != "config.json"}
    other = store.publish_bytes({**less, "x.json": b"{}"}, MediaType.MODEL).digest
    store.sign(signed, pair.key)
    move(places, signed, other)
    with pytest.raises(SignatureInvalid, match=r"the file config\.json that was signed is missing"):
        wary.checkout(other, tmp_path / "out")


def edit(part: str, change: Callable[[dict[str, object]], object]) -> Damage:
    def damage(bundle: bytes, _: Pair) -> bytes:
        found = json.loads(bundle)
        change(found[part] if part else found)
        return json.dumps(found).encode()

    return damage


BROKEN: dict[str, tuple[Damage, str]] = {
    "nothing at all": (lambda _, __: b"", "no Sigstore bundle"),
    "no JSON": (lambda _, __: b"\x00garbage", "no Sigstore bundle"),
    "deep JSON": (lambda _, __: b"[" * 100_000, "no Sigstore bundle"),
    "a list": (lambda _, __: b"[]", "no Sigstore bundle"),
    "too much": (lambda bundle, _: bundle + b" " * (17 << 20), "no Sigstore bundle"),
    "another version": (edit("", lambda found: found.update(mediaType="v9")), "of another version"),
    "no signature": (edit("dsseEnvelope", lambda found: found.update(signatures=[])), "no Sigstore bundle"),
    "another payload": (
        edit("dsseEnvelope", lambda found: found.update(payload="e30=")),
        "by another key, or what it is over was altered",
    ),
    "a checkpoint's": (
        lambda _, pair: pair.key.sign("https://example.org/other", "x", []),
        "it is over something else",
    ),
}


@pytest.mark.parametrize(("damage", "fact"), BROKEN.values(), ids=BROKEN)
def test_a_broken_signature_is_none_and_is_replaced_by_signing_again(
    damage: Damage, fact: str, places: Places, store: Store, wary: Store, pair: Pair, tmp_path: Path
) -> None:
    digest = publish(store)
    store.sign(digest, pair.key)
    (place,) = places.keys("signatures/")
    places.put(place, damage(places.get(place), pair))
    assert fact in refusal(wary, digest, tmp_path)
    assert store.sign(digest, pair.key)
    wary.checkout(digest, tmp_path / "out")


def test_a_flipped_byte_of_a_signed_artifact_is_still_a_digest_mismatch(
    places: Places, store: Store, wary: Store, pair: Pair, tmp_path: Path
) -> None:
    digest = publish(store)
    store.sign(digest, pair.key)
    flip(places, blobs(places)[0])
    with pytest.raises(DigestMismatch):
        wary.checkout(digest, tmp_path / "out")


@pytest.mark.parametrize(
    ("bundle", "fact"),
    [
        (lambda pair, files: b"garbage", "no Sigstore bundle"),
        (lambda pair, files: pair.key.sign("https://example.org/other", "x", files), "it is over something else"),
        (lambda pair, files: pair.key.sign(ARTIFACT, "x", files[1:]), "the file config.json was added"),
    ],
)
def test_a_signature_from_elsewhere_is_kept_only_if_it_is_over_these_files(
    bundle: Callable[[Pair, Sequence[File]], bytes], fact: str, places: Places, store: Store, pair: Pair
) -> None:
    digest = publish(store)
    with pytest.raises(SignatureInvalid, match=fact):
        store.attach(digest, bundle(pair, store.manifest(digest).files))
    assert places.keys("signatures/") == []


def test_what_is_not_there_is_not_signed(store: Store, pair: Pair) -> None:
    with pytest.raises(ArtifactMissing):
        store.sign(KEY, pair.key)


def test_a_recorded_result_that_nobody_signed_is_computed_again_and_replaced(
    store: Store, wary: Store, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    planted = store.publish_bytes({"model.safetensors": b"evil"}, MediaType.MODEL)
    summary = Summary(result=Result.SUCCEEDED, cache_key=KEY, output=planted)
    store.record(KEY, summary)
    with caplog.at_level(logging.WARNING):
        assert wary.recall(KEY) is None
    assert "not signed by any trusted key" in caplog.text
    made = store.publish_bytes(CONTENT, MediaType.MODEL)
    wary.sign(made.digest, pair.key)
    wary.record(KEY, summary.model_copy(update={"output": made}))
    found = wary.recall(KEY)
    assert found is not None
    assert found.output == made


def checkpoint(parent: Path) -> Path:
    folder = parent / "checkpoint-2"
    folder.mkdir()
    (folder / "trainer_state.json").write_bytes(b"{}")
    return folder


def test_a_checkpoint_counts_when_it_is_signed_for_the_stage(
    store: Store, wary: Store, places: Places, pair: Pair, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path)
    store.drafts.save(KEY, folder)
    assert wary.drafts.restore(KEY, tmp_path / "a") is None
    store.drafts.save(KEY, folder, make_pair(tmp_path / "others").key)
    assert wary.drafts.restore(KEY, tmp_path / "b") is None
    store.drafts.save(KEY, folder, pair.key)
    assert wary.drafts.restore(KEY, tmp_path / "c") == tmp_path / "c/checkpoint-2"


def test_a_signed_checkpoint_does_not_pass_for_a_model(
    store: Store, wary: Store, places: Places, pair: Pair, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path)
    store.drafts.save(KEY, folder, pair.key)
    (record,) = places.keys(f"drafts/{'c' * 64}/record")
    bundle = json.loads(places.get(record))["signature"].encode()
    model = store.publish(folder, MediaType.MODEL).digest
    places.put(f"signatures/sha256/{model.removeprefix('sha256:')}/{pair.key.name}.json", bundle)
    assert "it is over something else" in refusal(wary, model, tmp_path)


@pytest.mark.parametrize("kind", ["P-384", "Ed25519"])
def test_other_kinds_of_keys_are_refused_in_words(kind: str, tmp_path: Path) -> None:
    other = other_keys(tmp_path)[kind]
    with pytest.raises(KeyUnusable, match="private key is not EC on the curve P-256; make such a key: openssl"):
        SigningKey.read(other.key_file)
    with pytest.raises(KeyUnusable, match="public key is not EC on the curve P-256"):
        Trust.read([other.public_file])


def test_files_that_are_no_keys_are_refused_in_words(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    locked = make_pair(tmp_path, "locked", b"word")
    (tmp_path / "noise").write_bytes(b"\x00\xff noise")
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: SigningKey.read(tmp_path / "absent"), "cannot be read"),
        (lambda: SigningKey.read(pair.public_file), "no private key"),
        (lambda: SigningKey.read(tmp_path / "noise"), "no private key"),
        (lambda: SigningKey.read(locked.key_file), "locked with a password"),
        (lambda: Trust.read([tmp_path / "absent"]), "cannot be read"),
        (lambda: Trust.read([tmp_path / "noise"]), "no public key"),
        (lambda: Trust.read([pair.key_file]), "there is a private key"),
        (lambda: Trust.parse("", "the settings"), "the settings: there is no public key"),
        (lambda: Trust.parse(pair.public + "more", "x"), "more than public keys"),
        (lambda: Trust.parse(pair.public.replace("M", "?"), "x"), "no public key"),
    ]
    for act, fact in cases:
        with pytest.raises(KeyUnusable, match=fact) as caught:
            act()
        assert pair.key_file.read_text()[40:90] not in str(caught.value)
        assert caught.value.exit_code == 78
    with pytest.raises(ValueError, match="no key"):
        Trust([])
