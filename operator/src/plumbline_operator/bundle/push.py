"""Brings the images of a verified bundle into a registry. Safe to repeat: what is there is not sent again."""

from collections.abc import Callable
from dataclasses import dataclass, field

from plumbline_operator.bundle.layout import Part
from plumbline_operator.bundle.needed import NeededImage
from plumbline_operator.bundle.registry import Registry
from plumbline_operator.bundle.target import Target
from plumbline_operator.bundle.verify import Bundle, BundledImage

__all__ = ["Pushed", "push_image", "tag_of"]


@dataclass
class Pushed:
    """What became of an image, or would."""

    sent: list[Part] = field(default_factory=list)
    mounted: int = 0
    there: int = 0
    """Files that the registry had."""


def tag_of(image: NeededImage) -> str:
    """A tag that can only ever mean this image.

    A registry may remove what has no tag, and a tag that moved on would leave an older release's images without.
    """
    return f"{image.tag}-{image.digest.removeprefix('sha256:')[:12]}"


async def push_image(
    registry: Registry,
    target: Target,
    bundle: Bundle,
    image: BundledImage,
    held: dict[str, str],
    sent: Callable[[int], None],
    *,
    dry_run: bool,
) -> Pushed:
    """Send what the registry lacks of an image.

    Args:
        registry: Where to.
        target: Its address.
        bundle: Which has been verified.
        image: One of its images.
        held: Which repository is known to have a blob, by digest; filled here, so that layers that images share
            travel once.
        sent: Told of the bytes as they go.
        dry_run: Ask, and send nothing.

    Raises:
        BundleError: The registry cannot be reached, or refuses.
    """
    repository, done = target.repository(image.needed.repository), Pushed()
    tag = tag_of(image.needed)
    if await registry.has(repository, image.manifest, tag) and await registry.has(repository, image.manifest):
        done.there = len(image.parts)
        held.update({part.digest: repository for part in image.parts if not part.is_manifest})
        return done
    for part in image.parts:
        if await registry.has(repository, part):
            done.there += 1
        elif dry_run:
            done.sent.append(part)
        elif part.is_manifest:
            await registry.put_manifest(repository, part, bundle.layout.content(part), part.digest)
            done.sent.append(part)
        elif part.digest in held and await registry.mount(repository, part, held[part.digest]):
            done.mounted += 1
        else:
            await registry.upload(repository, part, bundle.layout.path(part.digest), sent)
            done.sent.append(part)
        held.setdefault(part.digest, repository)
    if not dry_run:
        await registry.put_manifest(repository, image.manifest, bundle.layout.content(image.manifest), tag)
    return done
