"""Which files manifests name, where, and in which namespace's table they belong."""

from pathlib import Path

import pytest

from plumbline_api.artifact import MediaType
from plumbline_api.manifests import Located, Object, parse_manifests
from plumbline_operator.cli.manifests import ManifestProblems
from plumbline_operator.cli.namedfiles import NamedFile, check_one_meaning, find_files
from tests.support import build

RUN = """\
apiVersion: plumbline.dev/v1alpha1
kind: AlignmentRun
metadata: {name: base}
spec:
  model: {file: {path: init}}
  stages:
    - name: s0
      sft:
        dataset:
          file: {path: data.jsonl}
        heldOut: {file: {path: data.jsonl}}
        learningRate: "1e-3"
        maxSteps: 2
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: plumbline.dev/v1alpha1
kind: EvalGate
metadata: {name: gate, namespace: research}
spec:
  subject: {file: {path: /models/theirs}}
  baseline: {file: {path: init}}
  suites: [{name: attacks}]
  rules: [{metric: harmful_compliance_rate, atMost: "0.05"}]
"""


def parsed(text: str, file: Path) -> tuple[Located[Object], ...]:
    found = parse_manifests(text, str(file))
    assert not found.problems
    return found.objects


def names(files: tuple[NamedFile, ...]) -> list[tuple[str, str, MediaType]]:
    return [(file.namespace, file.path, file.media_type) for file in files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "init").mkdir()
    (tmp_path / "data.jsonl").touch()
    return tmp_path


def test_every_file_source_is_found_where_local_mode_looks_for_it(folder: Path) -> None:
    (folder / "theirs").mkdir()
    text = RUN.replace("/models/theirs", str(folder / "theirs"))
    files = find_files(parsed(text, folder / "all.yaml"), "team", required=False)
    assert names(files) == [
        ("team", "init", MediaType.MODEL),
        ("team", "data.jsonl", MediaType.DATASET),
        ("team", "data.jsonl", MediaType.DATASET),
        ("research", str(folder / "theirs"), MediaType.MODEL),
        ("research", "init", MediaType.MODEL),
    ]
    assert [file.at for file in files[:2]] == [folder / "init", folder / "data.jsonl"]
    assert files[1].place == f"{folder}/all.yaml:10: spec.stages[0].sft.dataset.file.path"


def test_all_missing_files_are_told_with_manifest_line_field_path_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(ManifestProblems) as caught:
        find_files(parsed(RUN, tmp_path / "all.yaml"), "team", required=False)
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 5
    remedy = "does not exist; create it, or correct the path"
    assert told[0] == f"{tmp_path}/all.yaml:5: spec.model.file.path: {tmp_path}/init {remedy}"
    assert told[2] == f"{tmp_path}/all.yaml:11: spec.stages[0].sft.heldOut.file.path: {tmp_path}/data.jsonl {remedy}"


def test_an_object_of_another_namespace_than_the_one_asked_for_is_refused(folder: Path) -> None:
    located = parsed(RUN.replace("/models/theirs", "init"), folder / "all.yaml")
    with pytest.raises(ManifestProblems, match=r"metadata\.namespace: is research, but --namespace is team"):
        find_files(located, "team", required=True)
    assert {file.namespace for file in find_files(located[:2], "team", required=True)} == {"team"}


def test_one_path_with_two_contents_is_refused_unless_namespaces_part_them(folder: Path) -> None:
    located = parsed(RUN.replace("/models/theirs", "init"), folder / "all.yaml")
    files = find_files(located, "research", required=False)
    same = [(file, build.digest(file.path)) for file in files]
    check_one_meaning(same)
    with pytest.raises(ManifestProblems, match=r"all.yaml:23: spec.subject.file.path: init is another model at .*:5"):
        check_one_meaning([*same[:3], (files[3], build.digest("other"))])
    apart = find_files(located, "team", required=False)
    check_one_meaning((file, build.digest(file.namespace + file.path)) for file in apart)
