"""What the build stages leave out, and how a lock becomes one for the CPU build of torch."""

from pathlib import Path

import pytest

from images.assemble import cpu_lock, pins, split_lock, unneeded
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


def split(folder: Path, text: str) -> tuple[list[str], list[str]]:
    (folder / "lock.txt").write_text(text)
    split_lock(folder / "lock.txt")
    return list(pins((folder / "torch.txt").read_text())), list(pins((folder / "rest.txt").read_text()))


def test_torch_and_cuda_are_locked_apart_with_their_hashes(tmp_path: Path) -> None:
    torch, rest = split(tmp_path, LOCK)
    assert [pin.partition("==")[0] for pin in torch] == ["nvidia-cublas", "torch", "triton"]
    assert rest == [
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n",
        "trl==1.16.0 \\\n    --hash=sha256:ff\n",
    ]


def test_no_requirement_of_the_real_lock_is_lost_when_it_is_parted(tmp_path: Path) -> None:
    text = (ROOT / "requirements/images/trainer.txt").read_text(encoding="utf-8")
    torch, rest = split(tmp_path, text)
    assert sorted(torch + rest) == sorted(pins(text))
    assert len(torch) + len(rest) == sum(line[0] not in " #" for line in text.splitlines())
    assert {"torch", "triton", "nvidia-cublas", "cuda-toolkit"} <= {pin.partition("==")[0] for pin in torch}


def test_the_cpu_build_is_the_same_version_and_comes_alone() -> None:
    assert cpu_lock(LOCK, SHA) == f"torch==2.15.0+cpu --hash=sha256:{SHA}\n"


@pytest.mark.parametrize("sha", ["", "abc", "0" * 63 + "g"])
def test_the_wheel_of_another_index_needs_its_hash(sha: str) -> None:
    with pytest.raises(SystemExit, match="TORCH_SHA256"):
        cpu_lock(LOCK, sha)


def test_what_torch_cannot_be_imported_without_stays(tmp_path: Path) -> None:
    for name in ("torch/bin/torch_shm_manager", "torch/bin/protoc", "torch/include/a.h", "torch/lib/libtorch.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {str(path.relative_to(tmp_path)) for path in unneeded(tmp_path)} == {"torch/bin/protoc", "torch/include"}
