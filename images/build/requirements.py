"""Prints what an image's lock is resolved from: what the packages in it declare. Called by `make lock`."""

import sys
import tomllib
from typing import Final

from images.build.catalogue import LOCKS, ROOT

__all__ = ["BUILD", "declared"]

BUILD: Final = "build"
"""The lock of what makes wheels of our packages."""


def declared(lock: str) -> list[str]:
    """What the packages of a lock need from others, as their pyproject files say."""
    if lock == BUILD:
        return ["hatchling"]
    found: set[str] = set()
    for folder in LOCKS[lock]:
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found |= {need for need in project["dependencies"] if not need.startswith("plumbline-")}
    return sorted(found)


if __name__ == "__main__":
    sys.stdout.write("\n".join(declared(sys.argv[1])) + "\n")
