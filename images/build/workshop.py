"""The order of work: the base, then image after image: build, hand over, look inside, write down.

Called by the main program.
"""

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from images.build.builders import EPOCH, Builder, Order
from images.build.catalogue import DEBIAN, ROOT, SHARED, ImagePlan
from images.build.contents import merge, read_layer
from images.build.debian import ARCHIVES, CHECKSUMS, RELEASE, make_archives
from images.build.errors import BuildError
from images.build.layout import StoredImage, adopt, plain_layers, pretend, prune
from images.build.sbom import describe
from images.build.settings import Commit, Settings, version
from plumbline_api.names import ExitCode

__all__ = ["RECORDS", "Record", "Workshop", "read_records", "say"]

MEGABYTE: Final = 1_000_000
RECORDS: Final = "images.json"
"""What the newest builds gave, in the output folder; for people, for the bundle and for the tests."""
LAYOUT: Final = "oci"
_BASE_MB: Final = 400
_TAGS: Final = "localhost/plumbline"


@dataclass(frozen=True)
class Record:
    """What a build gave."""

    name: str
    digest: str
    layout: str
    """The OCI layout, a folder beside this file."""
    reference: str
    """The image's name in the layout."""
    variant: str
    """`cuda` or `cpu` for what has torch; otherwise empty."""
    version: str
    revision: str
    base: str
    builder: str
    compressed: int
    """Bytes that a registry holds."""
    unpacked: int
    """Bytes that a node holds."""
    layers: tuple[str, ...]
    sbom: str
    """The bill of materials, a file beside this one."""
    seconds: int
    """How long it took."""


@dataclass(frozen=True)
class Workshop:
    """Where images are built, and out of what."""

    settings: Settings
    builder: Builder
    commit: Commit
    secrets: dict[str, Path]

    @property
    def output(self) -> Path:
        """Where everything goes."""
        return self.settings.output.resolve()

    def need_space(self, plans: Sequence[ImagePlan]) -> None:
        """Refuse to begin what cannot be finished.

        Raises:
            BuildError: There is too little space; the message says where, and how much is needed.
        """
        known = self.records()
        locks = {plan.lock: plan.needs_mb for plan in plans if self.settings.again or plan.name not in known}
        needed = _BASE_MB + sum(locks.values())
        for folder in filter(None, (self.output, self.builder.storage())):
            existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
            free = shutil.disk_usage(existing).free // MEGABYTE
            if free < needed:
                remedy = "free some, or build fewer: make images ONLY=guard,operator"
                raise BuildError(f"needs {needed} MB in {folder}, has {free} MB; {remedy}", ExitCode.BAD_CONFIG)

    def bases(self) -> tuple[str, str]:
        """What images stand on and are built in: the named ones, or ours out of Debian packages."""
        if self.settings.base:
            return self.settings.base, self.settings.build_base
        folder = self.output / "debian"
        if self.settings.new_base or not all((folder / name).exists() for name in (*ARCHIVES, CHECKSUMS)):
            say(f"base: fetching packages of Debian {RELEASE}")
            folder.mkdir(parents=True, exist_ok=True)
            make_archives(folder, self.settings.apt_sources, EPOCH)
        made = []
        for target in ("base", "build"):
            say(f"base: building {target} out of {folder.name}/*.tar")
            tag = f"{_TAGS}/{target}:{RELEASE}"
            order = Order(tag, DEBIAN, target, folder, cached=not self.settings.again)
            self.builder.build(order, self._log("base"))
            made.append(tag)
        return made[0], made[1]

    def make(self, plan: ImagePlan, bases: tuple[str, str], place: str) -> Record:
        """Build one image and write down what it is.

        Raises:
            BuildError: It could not be built, is larger than it may be, or is not what it was before (with `again`).
        """
        say(f"{plan.name} ({place}): building; {self._log(plan.name)} tells how far it is")
        began = time.monotonic()
        self._log(plan.name).unlink(missing_ok=True)
        order = self.order(plan, bases)
        self.builder.build(order, self._log(plan.name))
        layout = self.output / (f"{LAYOUT}-again" if self.settings.again else LAYOUT)
        say(f"{plan.name} ({place}): writing it to {layout}")
        image = self._hand_over(order.tag, layout, plan.name)
        if self.settings.again:
            self._compare(plan, image)
            shutil.rmtree(layout)
            return self.records()[plan.name]
        record = self._describe(plan, image, bases[0], round(time.monotonic() - began))
        self._remember(record)
        prune(layout)
        sizes = f"{record.compressed / MEGABYTE:.0f} MB compressed, {record.unpacked / MEGABYTE:.0f} MB unpacked"
        say(f"{plan.name} ({place}): {record.digest}, {sizes}, {record.seconds} s")
        _check_size(plan, record)
        return record

    def order(self, plan: ImagePlan, bases: tuple[str, str]) -> Order:
        """What a builder is asked for; libraries that it has not are built first."""
        base, build_base = bases
        arguments = {
            "BASE": base,
            "BUILD_BASE": build_base,
        }
        if self.settings.torch_index and plan.with_torch:
            arguments |= {"TORCH_INDEX": self.settings.torch_index, "TORCH_SHA256": self.settings.torch_sha256}
        tag = f"{_TAGS}/{plan.name}:{'again' if self.settings.again else 'newest'}"
        order = Order(tag, plan.dockerfile, plan.name, ROOT, arguments, self.secrets, cached=not self.settings.again)
        taken = plan.libraries and order.cached and self.builder.reads_all
        return self._upon_libraries(order, plan) if taken else order

    def _hand_over(self, tag: str, layout: Path, name: str) -> StoredImage:
        known = plain_layers(layout)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=self.output) as folder:
            raw = Path(folder, "oci")
            pretend(raw, known)
            self.builder.export(tag, raw, self._log(name))
            return adopt(raw, layout, name, self._labels(), known)

    def records(self) -> dict[str, Record]:
        """What the newest builds gave, by name."""
        return read_records(self.output)

    def _upon_libraries(self, order: Order, plan: ImagePlan) -> Order:
        """The same, upon an image of its libraries, which is built where there is none of just these."""
        tag = f"{_TAGS}/{plan.lock}-{plan.libraries}:{self._state_of_libraries(order, plan)}"
        if not self.builder.has(tag):
            self.builder.build(replace(order, tag=tag, target=plan.libraries), self._log(plan.name))
        return replace(order, arguments={**order.arguments, "LIBRARIES": tag})

    def _state_of_libraries(self, order: Order, plan: ImagePlan) -> str:
        """A digest of all that they are made of, for a tag."""
        state = hashlib.sha256(json.dumps(dict(order.arguments), sort_keys=True).encode())
        base = () if self.settings.base else (self.output / "debian" / CHECKSUMS, DEBIAN)
        for file in (order.dockerfile, plan.lock_file, *SHARED, *base):
            state.update(hashlib.sha256(file.read_bytes()).digest())
        return state.hexdigest()[:12]

    def _labels(self) -> dict[str, str]:
        titles = {
            "version": version(),
            "revision": self.commit.revision,
            "created": self.commit.created,
            "source": self.settings.source,
        }
        return {f"org.opencontainers.image.{title}": value for title, value in titles.items()}

    def _describe(self, plan: ImagePlan, image: StoredImage, base: str, seconds: int) -> Record:
        memory = self.output / "layers"
        contents = merge(read_layer(self.output / LAYOUT, layer, memory) for layer in image.layers)
        bill = f"{plan.name}.cdx.json"
        title = f"plumbline-{plan.name}"
        text = describe(title, version(), image.digest, contents, self.commit.made)
        (self.output / bill).write_text(text, encoding="utf-8")
        variant = ("cpu" if self.settings.torch_index else "cuda") if plan.with_torch else ""
        return Record(
            name=plan.name,
            digest=image.digest,
            layout=LAYOUT,
            reference=plan.name,
            variant=variant,
            version=version(),
            revision=self.commit.revision,
            base=base,
            builder=self.builder.name,
            compressed=image.compressed,
            unpacked=contents.unpacked,
            layers=tuple(layer.digest for layer in image.layers),
            sbom=bill,
            seconds=seconds,
        )

    def _compare(self, plan: ImagePlan, image: StoredImage) -> None:
        before = self.records().get(plan.name)
        if before is None:
            raise BuildError(f"{plan.name} has not been built, so there is nothing to compare with", ExitCode.BAD_SPEC)
        if before.digest != image.digest:
            differing = [new for old, new in zip(before.layers, image.layers, strict=False) if old != new.digest]
            layers = f"; the first layer that differs is {differing[0].digest}" if differing else ""
            raise BuildError(f"{plan.name} is {image.digest} now, and was {before.digest}{layers}", ExitCode.BAD_DATA)
        say(f"{plan.name}: {image.digest} again")

    def _remember(self, record: Record) -> None:
        records = self.records() | {record.name: record}
        listed: list[dict[str, Any]] = [asdict(records[name]) for name in sorted(records)]
        beside = self.output / f".{RECORDS}"
        beside.write_text(json.dumps({"images": listed}, indent=2) + "\n", encoding="utf-8")
        beside.replace(self.output / RECORDS)

    def _log(self, name: str) -> Path:
        return self.output / "logs" / f"{name}.log"


def read_records(output: Path) -> dict[str, Record]:
    """What the newest builds in an output folder gave, by name; empty before the first."""
    path = output / RECORDS
    if not path.exists():
        return {}
    entries = json.loads(path.read_bytes())["images"]
    return {entry["name"]: Record(**entry | {"layers": tuple(entry["layers"])}) for entry in entries}


def say(text: str) -> None:
    """One line of progress for a person, at once."""
    sys.stderr.write(f"images: {text}\n")
    sys.stderr.flush()


def _check_size(plan: ImagePlan, record: Record) -> None:
    if plan.limit_mb is not None and record.unpacked > plan.limit_mb * MEGABYTE:
        size = f"{record.unpacked / MEGABYTE:.0f} MB unpacked"
        raise BuildError(f"{plan.name} has {size}, and may have {plan.limit_mb}; see {record.sbom} for what is in it")
