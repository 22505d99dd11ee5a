"""What a build is told, and how it is refused in words."""

import re
import subprocess
from pathlib import Path

import pytest

from images.build.builders import EPOCH, Builder, Order, find_builder
from images.build.catalogue import IMAGES, choose
from images.build.errors import BuildError
from images.build.settings import Commit, pip_settings, read_commit, read_settings
from plumbline_api.names import ExitCode

ORDER = Order(
    tag="localhost/plumbline/guard:newest",
    dockerfile=Path("images/guard/Dockerfile"),
    target="guard",
    context=Path("/work"),
    arguments={"BASE": "base:1"},
    secrets={"pip.conf": Path("/run/x/pip.conf")},
)


def test_images_are_chosen_by_name_in_the_order_of_the_catalogue() -> None:
    assert [plan.name for plan in choose("operator, guard")] == ["guard", "operator"]
    assert [plan.name for plan in choose("")] == list(IMAGES)


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BuildError, match="ONLY names gaurd; the images are guard, operator") as refused:
        choose("gaurd,operator")
    assert refused.value.code == ExitCode.BAD_SPEC


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--base", "python:3.12-slim"], "BASE and BUILD_BASE belong together"),
        (["--torch-index", "https://wheels.internal/cpu"], "TORCH_INDEX needs TORCH_SHA256"),
    ],
)
def test_options_that_belong_together_are_refused_alone(options: list[str], words: str) -> None:
    with pytest.raises(BuildError, match=words):
        read_settings(options)


def test_an_unknown_builder_is_refused() -> None:
    with pytest.raises(BuildError, match="the builders are docker, podman, buildah"):
        find_builder("kaniko")


def test_without_a_builder_the_message_says_which_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError, match=r"buildah is not installed.*apt-get install buildah skopeo") as refused:
        find_builder()
    assert refused.value.code == ExitCode.BAD_CONFIG


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_every_builder_is_told_target_secrets_arguments_and_time(name: str) -> None:
    command = Builder(name).build_command(ORDER)
    assert command[-1] == "/work"
    assert command[command.index("--target") + 1] == "guard"
    assert command[command.index("--secret") + 1] == "id=pip.conf,src=/run/x/pip.conf"
    assert "BASE=base:1" in command
    assert str(EPOCH) in " ".join(command)
    assert "--no-cache" not in command


def test_a_comparison_takes_no_layer_of_an_earlier_build() -> None:
    order = Order("a:b", Path("Dockerfile"), "a", Path(), cached=False)
    assert "--no-cache" in Builder("buildah").build_command(order)


def test_the_time_of_a_commit_is_written_as_labels_have_it() -> None:
    assert Commit("abc", 1763755200).created == "2025-11-21T20:00:00Z"


def test_a_checkout_says_its_commit(tmp_path: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True)  # noqa: S607
    assert read_commit({}).revision.startswith(head.stdout.strip())
    assert read_commit({"SOURCE_DATE_EPOCH": "5"}).made == 5


def test_pips_settings_reach_the_build_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@wheels.internal/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/somewhere/here")
    bundle = tmp_path / "bundle.crt"
    bundle.write_text("certificates")
    monkeypatch.setenv("PIP_CERT", str(bundle))
    secrets = pip_settings(tmp_path)
    text = secrets["pip.conf"].read_text()
    assert "index-url = https://user:secret@wheels.internal/simple" in text
    assert re.search(r"^cert = /run/secrets/ca.crt$", text, re.MULTILINE)
    assert "find-links" not in text
    assert secrets["ca.crt"].read_text() == "certificates"
