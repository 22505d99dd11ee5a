"""Small images as `make images` leaves them, and bundles of them."""

import json
import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from images.build.workshop import RECORDS, read_records
from images.bundle.writer import Sources, write_bundle
from plumbline_api.names import Image
from plumbline_operator.bundle.files import SIGNATURE, SUMS, files_in, sum_of, sums_text
from plumbline_operator.bundle.layout import REFERENCE
from plumbline_operator.bundle.signature import PrivateKey, sign
from tests.e2e import oci
from tests.support.checkout import ROOT

__all__ = ["NAMES", "VERSION", "bundle", "flip", "openssl", "reseal", "small_images", "write_pair"]

NAMES = ("operator", *(image.value for image in Image if image.required))
VERSION = "0.1.0"
MEDIA = "application/vnd.oci.image.index.v1+json"


def small_images(
    folder: Path, names: tuple[str, ...] = NAMES, version: str = VERSION, salt: bytes = b"", *, alike: bool = False
) -> Path:
    """What `make images` would leave, with images of one small layer each: other ones with salt, the same if alike."""
    layout = folder / "oci"
    (layout / "blobs/sha256").mkdir(parents=True)
    entries, records = [], []
    for name in names:
        single = folder / f"single-{name}"
        digest = oci.write_layout(
            single, oci.Image({"bin/it": salt + (b"it" if alike else name.encode()) * 1000}, (name,))
        )
        for blob in (single / "blobs/sha256").iterdir():
            blob.replace(layout / "blobs/sha256" / blob.name)
        (entry,) = json.loads((single / "index.json").read_bytes())["manifests"]
        entries.append({**entry, "annotations": {REFERENCE: name}})
        records.append(_record(name, digest, version))
        (folder / f"{name}.cdx.json").write_text(json.dumps({"components": [_component(name)]}))
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": MEDIA, "manifests": entries}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / RECORDS).write_text(json.dumps({"images": records}))
    return folder


def bundle(folder: Path, key: PrivateKey | None = None) -> Path:
    """A bundle of small images, below this folder."""
    made = folder / "build"
    if not made.exists():
        made.mkdir()
        small_images(made)
    return write_bundle(Sources(ROOT, made, read_records(made)), folder / "out", key)


def reseal(folder: Path, key: PrivateKey | None = None) -> None:
    """Make the list of files true again, as whoever holds the key could."""
    content = sums_text({name: sum_of(folder / name) for name in files_in(folder)}).encode()
    (folder / SUMS).write_bytes(content)
    (folder / SIGNATURE).unlink(missing_ok=True)
    if key is not None:
        (folder / SIGNATURE).write_bytes(sign(key, content))


def flip(path: Path) -> None:
    """Change one bit of a file, and nothing of what it is linked with."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def openssl(command: str, *files: str | Path) -> None:
    """Run it; a test fails with what it said."""
    done = subprocess.run(["/usr/bin/openssl", *command.split(), *files], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_pair(folder: Path, kind: str = "ed25519") -> tuple[PrivateKey, Path, Path]:
    """A new key, the file with it, and the file with its public part."""
    key: PrivateKey = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else _elliptic()
    private, public = folder / f"{kind}.key", folder / f"{kind}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key, private, public


def _elliptic() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _record(name: str, digest: str, version: str) -> dict[str, Any]:
    said = {"name": name, "digest": digest, "layout": "oci", "reference": name, "version": version}
    of_no_matter = {"variant": "", "revision": "", "base": "", "builder": "", "seconds": 0}
    return {**said, **of_no_matter, "compressed": 0, "unpacked": 0, "layers": [], "sbom": f"{name}.cdx.json"}


def _component(name: str) -> dict[str, Any]:
    return {"name": f"part-of-{name}", "version": "1.0", "licenses": [{"license": {"id": "MIT"}}]}
