"""The trainer's image trains, and the engine's image has the same layers; only where both are built already."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.build.layout import read_image
from images.build.workshop import LAYOUT, Record, read_records
from plumbline_api.names import ENV_TERMINATION_LOG
from plumbline_api.report import Result, Summary
from tests.e2e.siteimages import BUILT
from tests.e2e.unpacked import Unpacked, unpack
from tests.support.tiny_stage import make_bench

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("running an image takes root on Linux")
    found = read_records(BUILT)
    if not {"trainer", "engine"} <= set(found):
        pytest.skip("trainer and engine are not built: make images")
    return dict(found)


@pytest.fixture(scope="module")
def trainer(records: dict[str, Record]) -> Iterator[Unpacked]:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield unpack(BUILT / LAYOUT, "trainer", folder / "root")
    shutil.rmtree(folder)


def test_the_engine_is_the_trainers_layers_under_another_program(records: dict[str, Record]) -> None:
    trainer, engine = (read_image(BUILT / LAYOUT, name) for name in ("trainer", "engine"))
    assert trainer.layers == engine.layers
    assert engine.settings["config"]["Entrypoint"] == ["plumbline-engine"]
    assert records["trainer"].digest != records["engine"].digest


@pytest.mark.parametrize("block", ["sft", "dpo"])
def test_a_stage_trains_in_the_image_as_nobody_without_a_network(trainer: Unpacked, place: Path, block: str) -> None:
    bench = make_bench(place / "bench")
    orders = bench.run_file(block, {"lora": {"r": 4}}, name=f"in an image: {block}")
    (place / "run.json").write_text(orders.pretty())
    subprocess.run(["chown", "-R", "65532:65532", str(place)], check=True)  # noqa: S607
    told = {ENV_TERMINATION_LOG: f"{place}/summary"}
    work = ["plumbline-trainer", "run", "--file", f"{place}/run.json", "--work", f"{place}/work"]
    inside = trainer.command(*work, mounts={place: str(place)}, variables=told, network=False)
    done = subprocess.run(inside, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    summary = Summary.read((place / "summary").read_bytes())
    assert summary.result == Result.SUCCEEDED
