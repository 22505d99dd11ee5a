"""What the build stages of the images run: install what a lock names, then Plumbline's own packages.

Called by the Dockerfiles with the base's own Python, before anything is installed, so it imports the standard library
alone. The result is a virtual environment at /opt/plumbline whose files do not depend on when or where they were made.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["cpu_lock", "main", "unneeded"]

HOME = Path("/opt/plumbline")
TOOLS = Path("/build/tools")
WHEELS = Path("/build/wheels")
LAYERS = Path("/layers")

APART = {
    "cuda": ("nvidia", "cuda"),
    "torch": ("torch", "torchgen", "functorch"),
}
"""What becomes a layer of its own, so that a node that has it does not pull it again when something smaller changes."""

UNNEEDED = (
    # Triton compiles with a C compiler when it is used, and there is none in the image.
    "triton",
    "triton-*.dist-info",
    # For who builds against torch or CUDA; torch cannot be imported without torch/bin/torch_shm_manager.
    "torch/include",
    "torch/share",
    "torch/bin/protoc*",
    "nvidia/*/include",
    "nvidia/*/lib/*.a",
    "nvidia/cu13/cccl",
    "pyarrow/include",
    "pyarrow/src",
    "pyarrow/tests",
    "numpy/**/tests",
    "pandas/tests",
    "sympy/**/tests",
    "networkx/**/tests",
    "mpmath/tests",
    "psutil/tests",
    "peft/**/tests",
)
"""Paths below site-packages that no program of an image reads."""

_REPEATABLE = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
ACCELERATED = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")


def main() -> None:
    """Do the one step that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    dependencies = steps.add_parser("dependencies", help="install a lock, its hashes checked")
    dependencies.add_argument("lock", type=Path)
    dependencies.add_argument("--torch-index", default="", help="an index of CPU wheels of torch")
    dependencies.add_argument("--torch-sha256", default="", help="of the wheel there")
    packages = steps.add_parser("packages", help="build and install packages of this repository")
    packages.add_argument("sources", type=Path, nargs="+")
    given = parser.parse_args()
    if given.step == "packages":
        install_packages(given.sources)
    else:
        install_dependencies(given.lock, given.torch_index, given.torch_sha256)


def install_dependencies(lock: Path, torch_index: str, torch_sha256: str) -> None:
    """Make the environment, install a lock into it, leave out what is not needed, and set the layers apart."""
    run(sys.executable, "-m", "venv", "--without-pip", HOME)
    run(sys.executable, "-m", "venv", TOOLS)
    pip(TOOLS, "install", *pinned(Path("/build/build.txt")))
    if torch_index:
        text, torch = cpu_lock(lock.read_text(encoding="utf-8"), torch_sha256)
        lock, wheel = lock.with_name("without-torch.txt"), lock.with_name("torch.txt")
        lock.write_text(text, encoding="utf-8")
        wheel.write_text(torch, encoding="utf-8")
        pip(HOME, "install", "--index-url", torch_index, *pinned(wheel))
    pip(HOME, "install", *pinned(lock))
    pip(HOME, "check")
    site = site_packages()
    for path in unneeded(site):
        remove(path)
    for path in (HOME / "bin").iterdir():
        if not path.name.startswith("python"):
            remove(path)  # commands of libraries, and scripts for people's shells
    compile_all(site)
    for layer, names in APART.items():
        target = LAYERS / layer / site.relative_to("/")
        target.mkdir(parents=True)
        for name in names:
            if (site / name).exists():
                (site / name).rename(target / name)


def install_packages(sources: Sequence[Path]) -> None:
    """Build wheels of our packages and lay their files beside the environment, below LAYERS/own."""
    pip(TOOLS, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", WHEELS, *sources)
    names = [wheel.name.partition("-")[0] for wheel in sorted(WHEELS.glob("*.whl"))]
    own = LAYERS / "own"
    pip(HOME, "install", "--root", own, "--no-deps", "--no-index", "--no-compile", "--find-links", WHEELS, *names)
    compile_all(own, own)


def cpu_lock(lock: str, sha256: str) -> tuple[str, str]:
    """A lock without torch and what only its CUDA build needs, and a lock of its CPU build.

    Raises:
        SystemExit: The hash is missing, or is none.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise SystemExit("TORCH_SHA256: give the SHA-256 of the CPU wheel, 64 hexadecimal digits")
    (version,) = re.findall(r"^torch==(\S+)", lock, re.MULTILINE)
    kept = [pin for pin in pins(lock) if not ACCELERATED.match(pin)]
    return "".join(kept), f"torch=={version}+cpu --hash=sha256:{sha256}\n"


def pins(lock: str) -> Iterator[str]:
    """The requirements of a lock, each with the lines of its hashes."""
    yield from re.findall(r"^\S+==.*\n(?: +--hash=.*\n)*", lock, re.MULTILINE)


def unneeded(site: Path) -> list[Path]:
    """What of a site-packages folder no program of ours reads."""
    return [path for pattern in UNNEEDED for path in sorted(site.glob(pattern))]


def pinned(lock: Path) -> list[str]:
    """Options of pip that install exactly the wheels of a lock."""
    return ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile", "-r", str(lock)]


def pip(environment: Path, command: str, *arguments: str | Path) -> None:
    """Let the tools' pip work on an environment."""
    quiet = ["--disable-pip-version-check", "--no-input"] + (["--progress-bar", "off"] if command != "check" else [])
    if command == "install":
        quiet += ["--root-user-action", "ignore"]
    run(TOOLS / "bin/python", "-m", "pip", "--python", environment / "bin/python", command, *quiet, *arguments)


def compile_all(folder: Path, root: Path = Path("/")) -> None:
    """Byte-compile what is going to lie below `root`, with neither times nor orders of hashing in the files."""
    flags = ["-q", "-f", "-s", str(root), "-p", "/", "--invalidation-mode", "unchecked-hash"]
    run(TOOLS / "bin/python", "-m", "compileall", *flags, folder)


def site_packages() -> Path:
    """Where the environment keeps what is installed."""
    (found,) = HOME.glob("lib/python3*/site-packages")
    return found


def remove(path: Path) -> None:
    """Delete a file, a link or a folder, unless it went with its parent."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def run(*command: str | Path) -> None:
    """Run a command; its failure ends the build with its code."""
    done = subprocess.run(list(map(str, command)), env={**os.environ, **_REPEATABLE}, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
