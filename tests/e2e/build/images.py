"""Builds the images of this checkout that are lacking, or older than what is in them; the tests run these."""

import os
import subprocess
import sys
from pathlib import Path

from images.build.builders import find_builder
from images.build.catalogue import DEBIAN, IMAGES, ROOT, SHARED, ImagePlan
from images.build.errors import BuildError as NoBuilder
from images.build.settings import read_commit
from images.build.workshop import Record, read_records
from tests.cluster.build.cache import BuildError, say

__all__ = ["build_images", "outdated_images"]

OUTPUT = ROOT / "build/images"
EVERY = ("images/build", str(DEBIAN.parent), *map(str, SHARED))
"""What every image depends on."""


def build_images() -> None:
    """Make what is not there or not up to date; a moment's work when all is, minutes after a change of the trainer.

    Raises:
        BuildError: It could not be built.
    """
    wanted = outdated_images(OUTPUT)
    if not wanted:
        return
    try:
        find_builder()
    except NoBuilder as error:
        say(f"the images are not built, and what runs them is skipped: {error}")
        return
    say(f"building images of this checkout: {', '.join(wanted)}")
    done = subprocess.run([sys.executable, "-m", "images.build", "--only", ",".join(wanted)], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise BuildError("the images could not be built; see above", done.returncode)


def outdated_images(output: Path) -> list[str]:
    """Those of which a file has changed since the commit that they are of; without torch, those of another commit.

    These take seconds, and their tests make them of this very commit, while other tests run them.
    """
    built, revision = read_records(output), read_commit(os.environ).revision

    def is_outdated(name: str, plan: ImagePlan) -> bool:
        if name not in built or _has_changed(plan, built[name]):
            return True
        return not plan.with_torch and built[name].revision != revision

    return [name for name, plan in IMAGES.items() if is_outdated(name, plan)]


def _has_changed(plan: ImagePlan, record: Record) -> bool:
    """Whether it would be another image now. What was built of changed files cannot be told from what is there."""
    sources = [*EVERY, str(plan.dockerfile), str(plan.lock_file), *plan.distributions]
    command = ["git", "diff", "--quiet", record.revision, "--", *sources]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode != 0
