"""A real writer to kill, run beside others, or let run out of space: `python -m tests.unit.store.writer URI MODE`."""

import resource
import sys
from pathlib import Path

from plumbline_api.artifact import MediaType
from plumbline_store import NoSpace, open_store


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def publish_forever(uri: str) -> None:
    """Publish one artifact after the other; a line is printed when one is complete."""
    store, number = open_store(uri), 0
    while True:
        number += 1
        files = {f"part-{part}": bytes([number % 256, part]) * 500_000 for part in range(4)}
        say(store.publish_bytes(files, MediaType.DATASET).digest)


def publish_same(uri: str) -> None:
    """Publish what the writers beside this one publish, too."""
    store = open_store(uri)
    for number in range(20):
        say(store.publish_bytes({"a": b"a" * 100_000, "b": b"%d" % number}, MediaType.DATASET).digest)


def publish_too_much(uri: str) -> None:
    """Try to publish 4 MB where a file may have 1 MB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        open_store(uri).publish_bytes({"a": b"small", "b": b"x" * 4_000_000}, MediaType.DATASET)
    except NoSpace as error:
        say(str(error))


def checkout_forever(uri: str, folder: str) -> None:
    """Check the only artifact out again and again."""
    store = open_store(uri)
    digest = f"sha256:{next(Path(uri.removeprefix('file://')).glob('manifests/sha256/*')).stem}"
    number = 0
    while True:
        number += 1
        say(str(store.checkout(digest, Path(folder) / str(number))))


def main(uri: str, mode: str, *rest: str) -> None:
    """Do what the mode says."""
    match mode:
        case "forever":
            publish_forever(uri)
        case "same":
            publish_same(uri)
        case "too-much":
            publish_too_much(uri)
        case "checkout":
            checkout_forever(uri, *rest)


if __name__ == "__main__":
    main(*sys.argv[1:])
