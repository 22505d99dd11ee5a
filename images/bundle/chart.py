"""The chart as one file, as `helm package` lays it out. Helm's own has the time of packaging in it; this has not."""

import gzip
import io
import tarfile
from fnmatch import fnmatch
from pathlib import Path

from images.build.builders import EPOCH

__all__ = ["pack_chart"]


def pack_chart(chart: Path) -> bytes:
    """The packaged chart; the same bytes for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(chart.rglob("*"), key=lambda path: (path.name != "Chart.yaml", path.as_posix())):
            if path.is_file() and not _ignored(chart, path):
                member = tarfile.TarInfo(f"{chart.name}/{path.relative_to(chart).as_posix()}")
                content = path.read_bytes()
                member.size, member.mtime, member.mode = len(content), EPOCH, 0o644
                archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def _ignored(chart: Path, path: Path) -> bool:
    """Whether Helm would leave a file out; .helmignore has names and nothing else."""
    rules = (chart / ".helmignore").read_text(encoding="utf-8").split()
    return any(fnmatch(part, rule.strip("/")) for part in path.relative_to(chart).parts for rule in rules)
