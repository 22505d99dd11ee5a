"""The files of an image, and its program run in them as in a pod: by nobody, with nothing to write to but /tmp."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.build.compression import plain
from images.build.layout import blob_path, read_image

__all__ = ["Unpacked", "unpack"]

_ENTER = """
root=$1; shift
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 none "$root/tmp"
for mounted in $MOUNTS; do
  mkdir -p "$root${mounted#*=}"; mount --bind "${mounted%%=*}" "$root${mounted#*=}"
done
mount -o remount,ro,bind "$root"
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
exec env -i "$@"
"""
"""Like a container's runtime: mounts of its own, read-only files, a /tmp, and no variable of ours."""


@dataclass(frozen=True)
class Unpacked:
    """The files of an image."""

    root: Path
    settings: Mapping[str, Any]
    """What the image says of itself: user, environment, entry point, labels."""

    def command(
        self,
        *arguments: str,
        mounts: Mapping[Path, str] | None = None,
        variables: Mapping[str, str] | None = None,
        network: bool = True,
    ) -> list[str]:
        """The command that runs one in the image; mounted folders must be readable for everybody."""
        places = " ".join(f"{here}={there}" for here, there in (mounts or {}).items())
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        told = [f"{name}={value}" for name, value in (variables or {}).items()]
        inside = [
            shutil.which("chroot") or "chroot",
            f"--userspec={self.settings['User']}",
            "--groups=",
            str(self.root),
            *arguments,
        ]
        enter = [*apart, "env", f"MOUNTS={places}", "sh", "-ec", _ENTER, "sh", str(self.root)]
        return [*enter, *self.settings["Env"], *told, *inside]

    def run(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=seconds, check=False)

    def files(self) -> Sequence[str]:
        """All paths in the image, relative to its root."""
        return [str(path.relative_to(self.root)) for path in self.root.rglob("*")]


def unpack(layout: Path, reference: str, root: Path) -> Unpacked:
    """Lay the layers of an image on top of each other."""
    image = read_image(layout, reference)
    root.mkdir(parents=True, exist_ok=True)
    for layer in image.layers:
        command = ["tar", "-x", "-C", str(root)]
        with plain(blob_path(layout, layer.digest)) as archive, subprocess.Popen(command, stdin=subprocess.PIPE) as tar:
            assert tar.stdin is not None
            shutil.copyfileobj(archive, tar.stdin)
        assert tar.returncode == 0, layer.digest
    return Unpacked(root, image.settings["config"])
