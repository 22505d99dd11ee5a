"""Objects in short: nothing of them is lost, and those that are like others take little room."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from plumbline_operator.kube.seen.packing import Packing
from tests.support import build


@given(st.lists(st.tuples(st.sampled_from("ab"), st.binary(max_size=200)), max_size=10))
def test_what_is_packed_comes_out_as_it_was(things: list[tuple[str, bytes]]) -> None:
    packing = Packing()
    packed = [(kind, content, packing.pack(kind, content)) for kind, content in things]
    assert all(packing.unpack(kind, short) == content for kind, content, short in packed)


def test_a_sample_may_be_longer_than_what_can_be_referred_to() -> None:
    packing = Packing()
    long = bytes(range(256)) * 1_000
    assert packing.unpack("x", packing.pack("x", long)) == long
    assert packing.unpack("x", packing.pack("x", b"short")) == b"short"


def test_a_run_like_another_takes_a_tenth_of_its_length() -> None:
    packing = Packing()
    runs = [orjson.dumps(build.run(f"run-{number}").dump()) for number in range(3)]
    shorts = [packing.pack("run", run) for run in runs]
    assert all(len(short) * 10 < len(run) for short, run in zip(shorts, runs, strict=True))
