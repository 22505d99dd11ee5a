"""Dockerfiles, locks, the chart and the planned pods say the same."""

import re
import tomllib

import pytest
import yaml

from images.build.catalogue import IMAGES, LOCKS, ROOT, ImagePlan
from images.build.requirements import BUILD, declared
from plumbline_api.names import Image
from tests.support.planned import CLUSTER, pod_templates

every_image = pytest.mark.parametrize("plan", IMAGES.values(), ids=list(IMAGES))
every_lock = pytest.mark.parametrize("lock", [*LOCKS, BUILD])
RUNTIME_LOCK = ROOT / "requirements/runtime.txt"


def target(plan: ImagePlan) -> str:
    """The instructions of an image's target, with those of the targets that it stands on before them."""
    stages = re.split(r"^(?=FROM )", plan.dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {name: (parent, text) for text in stages for parent, name in re.findall(r"^FROM (\S+) AS (\S+)", text)}
    chosen = {f"${{{name}}}": stage for name, stage in re.findall(r"^ARG (\w+)=(\S+)$", stages[0], re.MULTILINE)}
    parts, name = [], plan.name
    while name in found:
        parent, text = found[name]
        name = chosen.get(parent, parent)
        parts.append(text)
    assert name == "${BASE}"
    return "\n".join(reversed(parts))


def commands_of(plan: ImagePlan) -> set[str]:
    """The commands that the packages in an image bring."""
    projects = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in plan.distributions]
    return {name for project in projects for name in project["project"].get("scripts", {})}


def pins(text: str) -> dict[str, str]:
    """The requirements of a lock with their hashes, by name, version and marker."""
    return dict(re.findall(r"^(\S+==[^\\\n]*?) \\\n((?: +--hash=\S+(?: \\)?\n)+)", text, re.MULTILINE))


def test_every_image_of_the_chart_is_built_here() -> None:
    values = yaml.safe_load((ROOT / "charts/plumbline/values.yaml").read_text(encoding="utf-8"))
    assert set(values["images"]) == {"operator", *Image}
    assert set(IMAGES) == {"operator", *(image for image in Image if image.required)}


def test_planned_pods_start_commands_that_their_images_have() -> None:
    names = {reference: image for image, reference in CLUSTER.images.items()}
    specs = [template["spec"] for template in pod_templates().values()]
    containers = [each for spec in specs for each in (*spec.get("initContainers", []), *spec["containers"])]
    assert {names[each["image"]] for each in containers} == set(Image)
    for each in containers:
        image = names[each["image"]]
        # The one image that is not ours has one program.
        assert each["command"][0] in (commands_of(IMAGES[image]) if image.required else {"vllm"})


def test_the_charts_operator_starts_a_command_that_its_image_has() -> None:
    text = (ROOT / "charts/plumbline/templates/operator/deployment.yaml").read_text(encoding="utf-8")
    (command,) = re.findall(r"command: \[([\w-]+)", text)
    assert command in commands_of(IMAGES["operator"])


@every_image
def test_an_image_starts_its_own_program_as_the_user_of_every_pod(plan: ImagePlan) -> None:
    text = target(plan)
    (entry,) = re.findall(r'^ENTRYPOINT \["([\w-]+)"\]$', text, re.MULTILINE)
    users = {template["spec"]["securityContext"]["runAsUser"] for template in pod_templates().values()}
    assert entry in commands_of(plan)
    assert re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE) == [(str(user), str(user)) for user in users]


@every_image
def test_an_image_is_labelled(plan: ImagePlan) -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', target(plan)))
    assert set(labels) == {"title", "description", "licenses", "version", "revision", "created", "source"}
    assert labels["title"] == f"plumbline-{plan.name}"


@every_image
def test_a_dockerfile_copies_the_packages_and_the_lock_that_the_catalogue_names(plan: ImagePlan) -> None:
    text = plan.dockerfile.read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY (\S+) /build/\S+$", text, re.MULTILINE))
    installed = set(re.findall(r"/build/(\S+)", text.partition("assemble.py packages ")[2].splitlines()[0]))
    assert copied == set(plan.distributions)
    assert installed == {folder.rpartition("/")[2] for folder in plan.distributions}
    assert f"requirements/images/{plan.lock}.txt" in text


@every_image
def test_own_packages_are_in_the_last_layer(plan: ImagePlan) -> None:
    layers = re.findall(r"^(?:COPY|ADD|RUN|WORKDIR).*", target(plan), re.MULTILINE)
    copies = [layer for layer in layers if layer.startswith("COPY")]
    assert copies[-1] == "COPY --from=packages /layers/own /"
    assert [layer for layer in layers if layer not in copies] == ["WORKDIR /tmp"]


@every_image
def test_nothing_but_what_a_build_needs_is_sent_to_the_builder(plan: ImagePlan) -> None:
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("*\n", 1)[1]
    for folder in plan.distributions:
        assert f"!/{folder}/src\n" in allowed
        assert f"!/{folder}/pyproject.toml\n" in allowed
    assert "!/.git" not in allowed
    assert allowed.endswith("**/__pycache__\n")


@every_lock
def test_a_lock_of_an_image_is_a_part_of_the_projects_lock(lock: str) -> None:
    part = pins((ROOT / f"requirements/images/{lock}.txt").read_text(encoding="utf-8"))
    whole = pins(RUNTIME_LOCK.read_text(encoding="utf-8"))
    hashes = {name.split(" ;")[0]: set(re.findall(r"sha256:\w+", text)) for name, text in whole.items()}
    assert part
    for name, text in part.items():
        assert set(re.findall(r"sha256:\w+", text)) == hashes[name.split(" ;")[0]], name


@every_lock
def test_a_lock_holds_all_that_the_packages_of_its_image_declare(lock: str) -> None:
    text = (ROOT / f"requirements/images/{lock}.txt").read_text(encoding="utf-8")
    held = {name.partition("==")[0] for name in pins(text)}
    needs = {re.split(r"[<>=;\[ ]", need)[0].lower().replace("_", "-") for need in declared(lock)}
    assert needs <= held, "run make lock"


def test_only_trainer_and_engine_have_torch() -> None:
    with_torch = {
        name for name, plan in IMAGES.items() if re.search(r"^torch==", plan.lock_file.read_text(), re.MULTILINE)
    }
    assert with_torch == {name for name, plan in IMAGES.items() if plan.with_torch} == {"trainer", "engine"}
