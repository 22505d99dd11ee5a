"""The images, built and run: what is in them, what is not, and that the same commit gives the same digests."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT7

from images.build.builders import find_builder
from images.build.catalogue import IMAGES
from images.build.errors import BuildError
from images.build.layout import blob_path, read_image
from images.build.workshop import LAYOUT, MEGABYTE, Record, read_records
from tests.e2e.siteimages import BUILT
from tests.e2e.unpacked import Unpacked, unpack
from tests.support.checkout import ROOT
from tests.support.guards import policy_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

EVERYWHERE = "0.0.0.0"  # noqa: S104 - of a network that nothing else is in
SCHEMAS = "http://cyclonedx.org/schema"
SMALL = ("guard", "operator", "evaluator")
every_small_image = pytest.mark.parametrize("name", SMALL)
FORBIDDEN = re.compile(
    r"""(.*/)?(bin|sbin)/(sh|ash|bash|dash|busybox|apt|apt-get|dpkg|pip3?|uv|conda|gcc|cc|g\+\+|clang|ld|make|perl|curl|wget)$
    |(.*/)?(site|dist)-packages/(pip|uv|ensurepip)$|.*/ensurepip$|.*/python-wheels$|root/|build/|layers/""",
    re.VERBOSE,
)


def make_images(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "images.build", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    """The small images, built as far as they are not."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("running an image takes root on Linux")
    try:
        find_builder()
    except BuildError as error:
        pytest.skip(str(error))
    done = make_images("--only", ",".join(SMALL))
    assert done.returncode == 0, done.stderr
    return read_records(BUILT)


@pytest.fixture(scope="module")
def roots(records: dict[str, Record]) -> Iterator[dict[str, Unpacked]]:
    """Their files."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield {name: unpack(BUILT / LAYOUT, name, folder / name) for name in SMALL}
    shutil.rmtree(folder)


@every_small_image
def test_an_image_is_no_larger_than_it_may_be(records: dict[str, Record], name: str) -> None:
    limit = IMAGES[name].limit_mb or 350
    assert records[name].compressed < records[name].unpacked <= limit * MEGABYTE


@every_small_image
def test_an_image_has_no_shell_no_compiler_and_no_package_manager(roots: dict[str, Unpacked], name: str) -> None:
    assert not [path for path in roots[name].files() if FORBIDDEN.match(path)]


@every_small_image
def test_nothing_of_an_image_is_writable_for_its_user_or_runs_with_more_rights(
    roots: dict[str, Unpacked], name: str
) -> None:
    found = {path: (roots[name].root / path).lstat() for path in roots[name].files()}
    assert not [path for path, stat in found.items() if stat.st_uid != 0 or stat.st_gid != 0]
    assert not [path for path, stat in found.items() if stat.st_mode & 0o6000]
    open_to_all = {path for path in found if not (roots[name].root / path).is_symlink() and found[path].st_mode & 0o002}
    assert open_to_all <= {"tmp"}


@every_small_image
def test_an_image_tells_where_it_comes_from_and_no_registry_of_packages(records: dict[str, Record], name: str) -> None:
    image = read_image(BUILT / LAYOUT, name)
    labels = image.settings["config"]["Labels"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607
    assert labels["org.opencontainers.image.title"] == f"plumbline-{name}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"].startswith(head.stdout.strip())
    version = tomllib.loads((ROOT / "operator/pyproject.toml").read_text())["project"]["version"]
    assert labels["org.opencontainers.image.version"] == version
    assert image.settings["config"]["User"] == "65532:65532"
    assert not re.search(r"https?://", json.dumps(image.settings))


@every_small_image
def test_no_setting_of_an_index_is_left_in_an_image(roots: dict[str, Unpacked], name: str) -> None:
    left = [
        path
        for path in roots[name].files()
        if re.search(r"pip\.conf|pip/|ca\.crt$|direct_url\.json|(^|/)\.cache", path)
    ]
    assert left == []
    assert "resolv.conf" not in {path.rpartition("/")[2] for path in roots[name].files()}


@every_small_image
def test_every_module_is_compiled_so_that_a_read_only_image_starts_fast(roots: dict[str, Unpacked], name: str) -> None:
    site = roots[name].root / "opt/plumbline/lib/python3.11/site-packages"
    modules = list(site.glob("plumbline_*/**/*.py"))
    assert modules
    compiled = [path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc" for path in modules]
    assert [path for path in compiled if not path.exists()] == []
    # Bit 0 without bit 1: believed without a look at the source, and so without its time.
    assert {path.read_bytes()[4] for path in compiled} == {1}


@every_small_image
def test_the_program_of_an_image_runs_as_nobody_on_read_only_files(roots: dict[str, Unpacked], name: str) -> None:
    (entry,) = roots[name].settings["Entrypoint"]
    done = roots[name].run(entry, "--help")
    assert done.returncode == 0, done.stderr
    assert entry in done.stdout
    write = "open('/opt/plumbline/x', 'w')"
    refused = roots[name].run("python3", "-c", write)
    assert "Read-only file system" in refused.stderr
    assert (
        roots[name].run("python3", "-c", "open('/tmp/x', 'w'); import os; assert os.getuid() == 65532").returncode == 0
    )


@every_small_image
def test_every_module_of_ours_and_every_library_of_the_base_can_be_loaded(
    roots: dict[str, Unpacked], name: str
) -> None:
    program = """
import importlib, pkgutil, pathlib, ssl, sys
for path in pathlib.Path("/usr/lib/python3.11/lib-dynload").glob("*.so"):
    importlib.import_module(path.name.partition(".")[0])
for root in [found.name for found in pkgutil.iter_modules() if found.name.startswith("plumbline_")]:
    for found in pkgutil.walk_packages(importlib.import_module(root).__path__, root + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
assert len(ssl.create_default_context().get_ca_certs()) > 100
"""
    done = roots[name].run("python3", "-c", program)
    assert done.returncode == 0, done.stderr


def test_the_operator_of_the_image_says_what_it_lacks(roots: dict[str, Unpacked]) -> None:
    assert "--help" in roots["operator"].run("plumbline", "operator", "--help").stdout
    done = roots["operator"].run("plumbline", "operator")
    assert done.returncode == 78
    assert "PLUMBLINE_" in done.stderr


def test_the_guard_of_the_image_listens(roots: dict[str, Unpacked], place: Path) -> None:
    (place / "policy.json").write_text(json.dumps(policy_file().dump()))
    command = ["plumbline-guard", "--policy", "/plumbline/policy/policy.json", "--upstream", "http://127.0.0.1:9"]
    # No network but its own: whatever else listens on this machine is not in the way.
    whole = roots["guard"].command(
        *command, "--host", EVERYWHERE, "--port", "8080", mounts={place: "/plumbline/policy"}, network=False
    )
    with subprocess.Popen(whole, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
    assert json.loads(line)["event"] == "listening"


@every_small_image
def test_a_bill_of_materials_is_valid_and_names_what_is_locked(records: dict[str, Record], name: str) -> None:
    bill = json.loads((BUILT / records[name].sbom).read_text())
    schemas = resources.files("cyclonedx.schema._res")
    texts = {each.name: each.read_text() for each in schemas.iterdir() if each.name.endswith(".schema.json")}
    # They refer to each other by the names of their files, beside an address that is theirs.
    known = [(f"{SCHEMAS}/{file}", DRAFT7.create_resource(json.loads(text))) for file, text in texts.items()]
    schema = json.loads(texts["bom-1.6.SNAPSHOT.schema.json"])
    jsonschema.Draft7Validator(schema, registry=Registry().with_resources(known)).validate(bill)
    listed = {each["purl"] for each in bill["components"]}
    locked = re.findall(r"^(\S+)==(\S+) \\$", IMAGES[name].lock_file.read_text(), re.MULTILINE)
    assert {f"pkg:pypi/{package}@{version}" for package, version in locked} <= listed
    assert any(each.startswith("pkg:deb/debian/libc6@") for each in listed)


def test_the_layout_holds_what_the_record_says(records: dict[str, Record]) -> None:
    for name in SMALL:
        image = read_image(BUILT / LAYOUT, name)
        assert image.digest == records[name].digest
        for layer in image.layers:
            assert blob_path(BUILT / LAYOUT, layer.digest).stat().st_size == layer.size


def test_another_build_without_any_cache_gives_the_same_digest(records: dict[str, Record]) -> None:
    done = make_images("--only", "guard", "--again")
    assert done.returncode == 0, done.stderr
    assert f"guard: {records['guard'].digest} again" in done.stderr
