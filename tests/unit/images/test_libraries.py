"""The part of an image that our own code does not change: built once, and named from then on."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from images.build.builders import Builder, Order
from images.build.catalogue import IMAGES, ImagePlan
from images.build.debian import CHECKSUMS
from images.build.settings import Commit, read_settings
from images.build.workshop import Workshop
from plumbline_api.names import Image

BASES = ("localhost/base:1", "localhost/build:1")
TRAINER, ENGINE = IMAGES[Image.TRAINER], IMAGES[Image.ENGINE]


@dataclass(frozen=True)
class Storage(Builder):
    """A builder that has what it was asked for, at once."""

    asked: list[Order] = field(default_factory=list)

    def build(self, order: Order, log: Path) -> None:
        self.asked.append(order)

    def has(self, tag: str) -> bool:
        return any(order.tag == tag for order in self.asked)


def workshop(output: Path, *options: str, builder: str = "buildah") -> Workshop:
    (output / "debian").mkdir(exist_ok=True)
    (output / "debian" / CHECKSUMS).write_text("libc6 1\n", encoding="utf-8")
    settings = read_settings(["--output", str(output), *options])
    return Workshop(settings, Storage(builder), Commit("abc", 0), {})


def asked(shop: Workshop) -> list[Order]:
    assert isinstance(shop.builder, Storage)
    return shop.builder.asked


def test_libraries_are_built_once_for_all_images_that_stand_on_them(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    orders = [shop.order(plan, BASES) for plan in (TRAINER, ENGINE, TRAINER)]
    (libraries,) = asked(shop)
    assert libraries.target == TRAINER.libraries
    assert "LIBRARIES" not in libraries.arguments
    assert [order.target for order in orders] == ["trainer", "engine", "trainer"]
    assert {order.arguments["LIBRARIES"] for order in orders} == {libraries.tag}


@pytest.mark.parametrize(
    ("options", "bases", "plan"),
    [
        (["--torch-index", "https://wheels.internal/cpu", "--torch-sha256", "ab"], BASES, TRAINER),
        (["--base", "site/base:1", "--build-base", "site/build:1"], ("site/base:1", "site/build:1"), TRAINER),
        ([], BASES, replace(TRAINER, lock="guard")),
        ([], BASES, replace(TRAINER, folder="guard")),
    ],
    ids=["another torch", "another base", "another lock", "another Dockerfile"],
)
def test_other_libraries_have_another_name(
    tmp_path: Path, options: list[str], bases: tuple[str, str], plan: ImagePlan
) -> None:
    usual = workshop(tmp_path).order(TRAINER, BASES)
    other = workshop(tmp_path, *options).order(plan, bases)
    assert usual.arguments["LIBRARIES"].rpartition(":")[2] != other.arguments["LIBRARIES"].rpartition(":")[2]


def test_newer_packages_of_the_base_make_other_libraries(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    before = shop.order(TRAINER, BASES)
    (tmp_path / "debian" / CHECKSUMS).write_text("libc6 2\n", encoding="utf-8")
    assert shop.order(TRAINER, BASES).arguments["LIBRARIES"] != before.arguments["LIBRARIES"]


def test_a_builder_that_knows_its_stages_is_left_to_it(tmp_path: Path) -> None:
    shop = workshop(tmp_path, builder="docker")
    assert "LIBRARIES" not in shop.order(TRAINER, BASES).arguments
    assert asked(shop) == []


def test_a_comparison_takes_no_libraries_of_an_earlier_build(tmp_path: Path) -> None:
    shop = workshop(tmp_path, "--again")
    assert "LIBRARIES" not in shop.order(TRAINER, BASES).arguments
    assert asked(shop) == []


def test_small_images_are_built_in_one_go(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    assert "LIBRARIES" not in shop.order(IMAGES[Image.GUARD], BASES).arguments
    assert asked(shop) == []
