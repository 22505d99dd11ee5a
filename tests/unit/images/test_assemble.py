"""What the build stages leave out, and how a lock becomes one for the CPU build of torch."""

from pathlib import Path

import pytest

from images.assemble import cpu_lock, pins, unneeded
from images.build.catalogue import ROOT

SHA = "0" * 64
LOCK = """# made by a tool
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
nvidia-cublas==13.4 ; sys_platform == 'linux' \\
    --hash=sha256:cc
torch==2.15.0 \\
    --hash=sha256:dd
triton==3.9.0 \\
    --hash=sha256:ee
trl==1.16.0 \\
    --hash=sha256:ff
"""


def test_a_lock_without_cuda_keeps_everything_else_with_its_hashes() -> None:
    rest, torch = cpu_lock(LOCK, SHA)
    assert list(pins(rest)) == [
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n",
        "trl==1.16.0 \\\n    --hash=sha256:ff\n",
    ]
    assert torch == f"torch==2.15.0+cpu --hash=sha256:{SHA}\n"


def test_the_real_lock_loses_what_only_cuda_needs() -> None:
    text = (ROOT / "requirements/images/trainer.txt").read_text(encoding="utf-8")
    rest, _ = cpu_lock(text, SHA)
    lost = {pin.partition("==")[0] for pin in pins(text)} - {pin.partition("==")[0] for pin in pins(rest)}
    assert {"torch", "triton", "nvidia-cublas", "cuda-toolkit"} <= lost
    assert not {name for name in lost if not name.startswith(("nvidia-", "cuda-", "torch", "triton"))}


@pytest.mark.parametrize("sha", ["", "abc", "0" * 63 + "g"])
def test_the_wheel_of_another_index_needs_its_hash(sha: str) -> None:
    with pytest.raises(SystemExit, match="TORCH_SHA256"):
        cpu_lock(LOCK, sha)


def test_what_torch_cannot_be_imported_without_stays(tmp_path: Path) -> None:
    for name in ("torch/bin/torch_shm_manager", "torch/bin/protoc", "torch/include/a.h", "torch/lib/libtorch.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {str(path.relative_to(tmp_path)) for path in unneeded(tmp_path)} == {"torch/bin/protoc", "torch/include"}
