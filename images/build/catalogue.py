"""Which images there are: the Dockerfile and target of each, what of this repository is in it, and how large it may be.

The names are those of the chart's values. Read by the main program, by `make lock` and by the tests.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.build.errors import BuildError
from plumbline_api.names import ExitCode, Image

__all__ = ["DEBIAN", "IMAGES", "LOCKS", "ROOT", "SHARED", "ImagePlan", "choose"]

ROOT: Final = Path(__file__).parents[2]
DEBIAN: Final = ROOT / "images/debian/Dockerfile"
"""What the base is made by."""
SHARED: Final = (ROOT / "images/assemble.py", ROOT / "requirements/images/build.txt")
"""What every image is made with."""


@dataclass(frozen=True)
class ImagePlan:
    """One image."""

    name: str
    """Its key in the chart's values, and its target in the Dockerfile."""
    folder: str
    """Its Dockerfile lies in `images/FOLDER`."""
    lock: str
    """What it is installed from: `requirements/images/LOCK.txt`."""
    distributions: tuple[str, ...]
    """Folders of this repository whose packages are in it."""
    needs_mb: int
    """Disk that a first build takes: downloads, layers, and the compressed image; measured, rounded up."""
    limit_mb: int | None = None
    """How large it may be, unpacked; None where torch decides."""
    libraries: str = ""
    """The stage of its Dockerfile with what our own code does not change, where that is large."""

    @property
    def dockerfile(self) -> Path:
        """Where its Dockerfile is."""
        return ROOT / "images" / self.folder / "Dockerfile"

    @property
    def with_torch(self) -> bool:
        """Whether it comes in a CUDA and a CPU variant."""
        return "trainer" in self.distributions

    @property
    def lock_file(self) -> Path:
        """Where its lock is."""
        return ROOT / "requirements/images" / f"{self.lock}.txt"


_TRAINER: Final = ("crds", "store", "trainer")

IMAGES: Final = {
    plan.name: plan
    for plan in (
        ImagePlan(Image.GUARD, "guard", "guard", ("crds", "images/guard"), 1000, limit_mb=200),
        ImagePlan("operator", "operator", "operator", ("crds", "store", "operator"), 1000, limit_mb=350),
        ImagePlan(Image.EVALUATOR, "evaluator", "evaluator", ("crds", "store", "images/evaluator"), 1000),
        ImagePlan(Image.TRAINER, "trainer", "trainer", _TRAINER, 20_000, libraries="libraries"),
        ImagePlan(Image.ENGINE, "trainer", "trainer", _TRAINER, 20_000, libraries="libraries"),
    )
}
"""Small ones first. Trainer and engine are two targets of one Dockerfile, so they share every layer."""

LOCKS: Final = {plan.lock: plan.distributions for plan in IMAGES.values()}
"""Which folders' packages each lock serves."""


def choose(only: str) -> list[ImagePlan]:
    """The images named in a list with commas; all of them where it is empty.

    Raises:
        BuildError: A name is none of theirs.
    """
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in IMAGES]
    if unknown:
        known = ", ".join(IMAGES)
        raise BuildError(f"ONLY names {', '.join(unknown)}; the images are {known}", ExitCode.BAD_SPEC)
    return [plan for name, plan in IMAGES.items() if name in wanted or not wanted]
