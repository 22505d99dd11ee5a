"""`make bundle`: writes the bundle of the images that were built last, and signs it where a key is given."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from images.build.errors import BuildError
from images.build.workshop import read_records
from images.bundle.writer import Sources, write_bundle
from plumbline_api.names import ExitCode
from plumbline_operator.bundle.errors import BundleError
from plumbline_operator.bundle.files import SUMS
from plumbline_operator.bundle.signature import fingerprint, read_private_key

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    """Write; gives the exit code."""
    given = _parser().parse_args(arguments)
    try:
        key = read_private_key(given.key) if given.key else None
        sources = Sources(ROOT, given.images, read_records(given.images))
        folder = write_bundle(sources, given.output, key)
    except (BuildError, BundleError) as error:
        _say(str(error))
        return error.exit_code if isinstance(error, BundleError) else error.code
    _say(f"{folder} holds {len(sources.records)} images, and all that is needed to bring them in")
    if key is None:
        _say(f"it is NOT SIGNED: give KEY=FILE, or sign {folder / SUMS} where your key is; docs/airgap.md tells how")
    else:
        _say(f"signed; the public key is {fingerprint(key.public_key())}")
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bundle", description=__doc__)
    option = parser.add_argument
    option("--key", type=Path, metavar="FILE", help="private key, Ed25519 or ECDSA on P-256; PEM without a password")
    option("--images", type=Path, default=Path("build/images"), metavar="DIR", help="what make images wrote")
    option("--output", type=Path, default=Path("build/bundle"), metavar="DIR", help="where the bundle goes")
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"bundle: {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
