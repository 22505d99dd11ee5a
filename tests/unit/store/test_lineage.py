"""From a model back to the data it was made from."""

from plumbline_api.artifact import File, Manifest, MediaType, Parent
from plumbline_store import Presence, Store
from plumbline_store.lineage import trace
from tests.unit.store.places import CONTENT


def test_a_model_leads_back_to_its_data(store: Store) -> None:
    base = store.publish_bytes(CONTENT, MediaType.MODEL)
    data = store.publish_bytes({"train.jsonl": b"{}\n"}, MediaType.DATASET)
    parents = [Parent(role="model", digest=base.digest), Parent(role="dataset", digest=data.digest)]
    sft = store.publish_bytes({"model.safetensors": b"1"}, MediaType.MODEL, parents=parents)
    last = store.publish_bytes(
        {"model.safetensors": b"2"}, MediaType.MODEL, parents=[Parent(role="model", digest=sft.digest)]
    )
    tree = [(depth, node.role, node.digest) for depth, node in store.lineage(last.digest).walk()]
    assert tree == [
        (0, "", last.digest),
        (1, "model", sft.digest),
        (2, "model", base.digest),
        (2, "dataset", data.digest),
    ]


def test_a_missing_parent_is_marked(store: Store) -> None:
    gone = "sha256:" + "0" * 64
    ref = store.publish_bytes(CONTENT, MediaType.MODEL, parents=[Parent(role="model", digest=gone)])
    lineage = store.lineage(ref.digest)
    assert lineage.presence is Presence.PRESENT
    assert [(parent.digest, parent.presence) for parent in lineage.parents] == [(gone, Presence.MISSING)]
    assert store.lineage(gone).presence is Presence.MISSING


def test_a_long_chain_can_be_walked(store: Store) -> None:
    ref = store.publish_bytes({"model.safetensors": b"0"}, MediaType.MODEL)
    for number in range(1, 13):
        parent = Parent(role="model", digest=ref.digest)
        ref = store.publish_bytes({"model.safetensors": b"%d" % number}, MediaType.MODEL, parents=[parent])
    assert [depth for depth, _ in store.lineage(ref.digest).walk()] == list(range(13))


def test_an_artifact_that_many_came_from_is_traced_once(store: Store) -> None:
    ref = store.publish_bytes({"model.safetensors": b"0"}, MediaType.MODEL)
    for number in range(1, 13):
        twice = [Parent(role=role, digest=ref.digest) for role in ("model", "reference")]
        ref = store.publish_bytes({"model.safetensors": b"%d" % number}, MediaType.MODEL, parents=twice)
    walked = list(store.lineage(ref.digest).walk())
    assert len(walked) == 1 + 2 * 12
    assert sum(item.repeated for _, item in walked) == 12


def test_depth_has_no_limit() -> None:
    def read(digest: str) -> Manifest:
        number = int(digest.removeprefix("sha256:"), 16)
        parents = (Parent(role="model", digest=f"sha256:{number - 1:064x}"),) if number else ()
        file = File(path="a", sha256="0" * 64, size=number)
        return Manifest(media_type=MediaType.MODEL, files=(file,), parents=parents)

    assert sum(1 for _ in trace(f"sha256:{3000:064x}", read).walk()) == 3001
