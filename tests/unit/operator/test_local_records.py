"""Files of a state directory: objects, statuses, events, and what may not be one."""

import os
import stat
from pathlib import Path

import pytest

from plumbline_api.reasons import Reason
from plumbline_operator.decision import Event, EventType
from plumbline_operator.local.differences import first_difference
from plumbline_operator.local.durable import write_whole
from plumbline_operator.local.errors import StateUnusable
from plumbline_operator.local.images import local_images
from plumbline_operator.local.layout import Layout, open_layout
from plumbline_operator.local.records import MOST_EVENTS, Applied, Records, key_of
from plumbline_operator.local.settings import read_settings
from tests.support import build

RUN = key_of(build.run())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return open_layout(tmp_path / "state", create=True)


def keep(records: Records, name: str = "base", **spec: object) -> Applied:
    return records.keep(build.run(name, **spec), file="/manifests/run.yaml", uid="1", now=build.NOON)  # type: ignore[arg-type] # spec is free


def test_a_state_directory_is_its_owners_alone(layout: Layout) -> None:
    assert stat.S_IMODE(layout.root.stat().st_mode) == 0o700


def test_a_creation_that_was_cut_short_is_repeated(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / ".version.4711").write_text("")
    assert open_layout(state, create=True).version.read_text() == "1\n"


def test_a_version_that_is_no_number_is_refused(layout: Layout) -> None:
    layout.version.write_text("one")
    with pytest.raises(StateUnusable, match="does not hold a layout version"):
        open_layout(layout.root, create=True)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep/file"
    write_whole(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "two \ud800")
    assert path.read_text() == "one"
    assert os.listdir(path.parent) == ["file"]


def test_applying_tells_what_it_did(layout: Layout) -> None:
    records = Records(layout)
    assert [keep(records), keep(records), keep(records, seed=3)] == [
        Applied.CREATED,
        Applied.UNCHANGED,
        Applied.CONFIGURED,
    ]
    record = records.record(RUN.kind, RUN.namespace, RUN.name)
    assert record is not None
    assert record.generation == 2


def test_a_label_changes_the_object_and_not_its_generation(layout: Layout) -> None:
    records = Records(layout)
    keep(records)
    run = build.run()
    metadata = run.metadata.model_copy(update={"labels": {"team": "a"}})
    labelled = run.model_copy(update={"metadata": metadata})
    done = records.keep(labelled, file="/manifests/run.yaml", uid="2", now=build.NOON)
    record = records.record(RUN.kind, RUN.namespace, RUN.name)
    assert record is not None
    assert (done, record.generation) == (Applied.CONFIGURED, 1)


def test_a_forgotten_object_leaves_nothing(layout: Layout) -> None:
    records = Records(layout)
    keep(records)
    records.write_status(RUN, records.status(RUN))
    records.emit(RUN, Event(EventType.NORMAL, Reason.RUNNING, "started"), build.NOON)
    records.forget(RUN)
    assert records.keys() == ()
    assert [path for path in layout.root.rglob("*") if path.is_file()] == [layout.version]


def test_events_are_bounded_and_survive_a_torn_line(layout: Layout) -> None:
    records = Records(layout)
    records.emit(RUN, Event(EventType.NORMAL, Reason.RUNNING, "begun"), build.NOON)
    (line,) = layout.events(RUN).read_text().splitlines()
    lines = [line.replace("begun", f"event {number}") for number in range(MOST_EVENTS)]
    layout.events(RUN).write_text("\n".join([*lines, '{"type": "Nor']))
    records.emit(RUN, Event(EventType.NORMAL, Reason.RUNNING, "last"), build.NOON)
    found = records.events(RUN)
    assert len(found) == MOST_EVENTS
    assert (found[0].message, found[-1].message) == ("event 1", "last")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"a": 1, "b": [1, 2]}, None),
        ({"a": 2, "b": [1, 2]}, "spec.a was 1 and is 2 now"),
        ({"a": 1, "b": [1, 3]}, "spec.b[1] was 2 and is 3 now"),
        ({"a": 1, "b": [1]}, "spec.b was [1, 2] and is [1] now"),
        ({"a": 1}, "spec.b was [1, 2] and is absent now"),
    ],
)
def test_the_first_difference_is_named_by_its_path(after: object, expected: str | None) -> None:
    assert first_difference({"a": 1, "b": [1, 2]}, after, "spec") == expected


def test_images_change_with_the_program_that_stands_for_them(tmp_path: Path) -> None:
    before = local_images(tmp_path)
    (tmp_path / "plumbline-trainer").write_text("#!/bin/sh\n")
    after = local_images(tmp_path)
    changed = {image.value for image in after if after[image] != before[image]}
    assert changed == {"trainer"}
    assert all("@sha256:" in reference for reference in after.values())


def test_settings_pass_on_neither_secrets_nor_proxies() -> None:
    environ = {
        "HOME": "/h",
        "PATH": "/bin",
        "TOKEN": "t",
        "http_proxy": "p",
        "PYTHONPATH": "x",
        "PLUMBLINE_LOCAL_BIN": "/l",
    }
    found = read_settings(environ)
    assert set(found.environment) == {"HOME", "PATH"}
    folders = found.environment["PATH"].split(":")
    assert (folders[0], folders[-1]) == ("/l", "/bin")
