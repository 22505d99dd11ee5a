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

__all__ = ["cpu_lock", "main", "pins", "split_lock", "unneeded"]

HOME = Path("/opt/plumbline")
TOOLS = Path("/build/tools")
CACHE = Path("/root/.cache/pip")
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

ACCELERATED = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")


def main() -> None:
    """Do the one step that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    split = steps.add_parser("split", help="write the part of a lock that is torch, torch.txt, and rest.txt beside it")
    split.add_argument("lock", type=Path)
    torch = steps.add_parser("torch", help="install torch and what comes with it, in layers of their own")
    torch.add_argument("lock", type=Path)
    torch.add_argument("--torch-index", default="", help="an index of CPU wheels of torch")
    torch.add_argument("--torch-sha256", default="", help="of the wheel there")
    dependencies = steps.add_parser("dependencies", help="install a lock, its hashes checked")
    dependencies.add_argument("lock", type=Path)
    packages = steps.add_parser("packages", help="build and install packages of this repository")
    packages.add_argument("sources", type=Path, nargs="+")
    given = parser.parse_args()
    if given.step == "split":
        split_lock(given.lock)
    elif given.step == "torch":
        install_torch(given.lock, given.torch_index, given.torch_sha256)
    elif given.step == "dependencies":
        install(given.lock)
        pip(HOME, "check")
        for path in site_packages().glob("triton-*.dist-info"):
            remove(path)  # the check wants it, and nothing else shall believe that it is there
    else:
        install_packages(given.sources)


def split_lock(lock: Path) -> None:
    """Part a lock, so that a change of the rest does not install torch again."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    for pin in pins(lock.read_text(encoding="utf-8")):
        parts[ACCELERATED.match(pin) is not None].append(pin)
    lock.with_name("torch.txt").write_text("".join(parts[True]), encoding="utf-8")
    lock.with_name("rest.txt").write_text("".join(parts[False]), encoding="utf-8")


def install_torch(lock: Path, index: str, sha256: str) -> None:
    """Install torch with CUDA's libraries, or its CPU build from another index, and set its files apart."""
    if index:
        lock.write_text(cpu_lock(lock.read_text(encoding="utf-8"), sha256), encoding="utf-8")
        install(lock, "--index-url", index)
    else:
        install(lock)
    site = site_packages()
    for layer, names in APART.items():
        target = LAYERS / layer / site.relative_to("/")
        target.mkdir(parents=True)
        for name in names:
            if (site / name).exists():
                (site / name).rename(target / name)


def install(lock: Path, *options: str) -> None:
    """Install a lock into the environment, which is made where it is not there; leave out what is not needed."""
    if not HOME.exists():
        run(sys.executable, "-m", "venv", "--without-pip", HOME)
        run(sys.executable, "-m", "venv", TOOLS)
        pip(TOOLS, "install", *pinned(Path("/build/build.txt")))
    pip(HOME, "install", *options, *pinned(lock))
    site = site_packages()
    for path in unneeded(site):
        remove(path)
    for path in (HOME / "bin").iterdir():
        if not path.name.startswith("python"):
            remove(path)  # commands of libraries, and scripts for people's shells
    compile_all(site)


def install_packages(sources: Sequence[Path]) -> None:
    """Build wheels of our packages and lay their files beside the environment, below LAYERS/own."""
    pip(TOOLS, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", WHEELS, *sources)
    names = [wheel.name.partition("-")[0] for wheel in sorted(WHEELS.glob("*.whl"))]
    own = LAYERS / "own"
    pip(HOME, "install", "--root", own, "--no-deps", "--no-index", "--no-compile", "--find-links", WHEELS, *names)
    compile_all(own, own)


def cpu_lock(lock: str, sha256: str) -> str:
    """Instead of a lock of torch one of its CPU build, which comes alone.

    Raises:
        SystemExit: The hash is missing, or is none.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise SystemExit("TORCH_SHA256: give the SHA-256 of the CPU wheel, 64 hexadecimal digits")
    (version,) = re.findall(r"^torch==(\S+)", lock, re.MULTILINE)
    return f"torch=={version}+cpu --hash=sha256:{sha256}\n"


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
        quiet += ["--root-user-action", "ignore", "--cache-dir", str(CACHE)]
    run(TOOLS / "bin/python", "-m", "pip", "--python", environment / "bin/python", command, *quiet, *arguments)


def compile_all(folder: Path, root: Path = Path("/")) -> None:
    """Byte-compile what is going to lie below `root`, with neither times nor orders of hashing in the files.

    A file that this Python cannot compile stays as it is: torch has some for newer ones, which nothing imports.
    """
    flags = ["-q", "-f", "-s", str(root), "-p", "/", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([str(TOOLS / "bin/python"), "-m", "compileall", *flags, str(folder)], env=environment(), check=False)


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


def environment() -> dict[str, str]:
    """Variables under which everything runs: what is written does not depend on chance."""
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def run(*command: str | Path) -> None:
    """Run a command; its failure ends the build with its code."""
    done = subprocess.run(list(map(str, command)), env=environment(), check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
