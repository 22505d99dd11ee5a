"""The cache: an older state never replaces a newer one, whatever the order in which watches, lists and answers come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plumbline_api.names import FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_OWNER, LABEL_OWNER_KIND, LABEL_SUITE, Kind
from plumbline_operator.kube.api.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, OURS, PODS
from plumbline_operator.kube.seen.cache import Cache
from plumbline_operator.kube.seen.relations import ExecutedBy, OwnedBy, PodsOf
from plumbline_operator.observed import Key

RUNS = OURS[Kind.ALIGNMENT_RUN]
RUN = Key(Kind.ALIGNMENT_RUN, "ns", "base")
Raw = dict[str, Any]


def raw(name: str = "base", version: int = 1, uid: str = "u1", namespace: str = "ns", **more: Any) -> Raw:
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | more.pop("metadata", {}), **more}


def child(name: str = "job", labels: Mapping[str, str] | None = None, **more: Any) -> Raw:
    own = {LABEL_MANAGED_BY: FIELD_MANAGER, LABEL_OWNER: "base", LABEL_OWNER_KIND: Kind.ALIGNMENT_RUN.value}
    return raw(name, metadata={"labels": own | dict(labels or {})}, **more)


def test_an_object_comes_back_as_it_was_put_with_its_version() -> None:
    cache = Cache()
    assert cache.put(RUNS, raw(version=7, spec={"seed": 1}, status={"phase": "Running"})) == (RUN,)
    found = cache.get(RUNS, "ns", "base")
    assert found is not None
    assert (found["metadata"]["resourceVersion"], found["spec"], found["status"]) == (
        "7",
        {"seed": 1},
        {"phase": "Running"},
    )
    assert cache.get(RUNS, "ns", "other") is None
    assert cache.keys() == (RUN,)


def test_an_older_state_is_passed_over() -> None:
    cache = Cache()
    cache.put(RUNS, raw(version=7, status={"phase": "Succeeded"}))
    for version in (6, 7):
        assert cache.put(RUNS, raw(version=version, status={"phase": "Running"})) == ()
    found = cache.get(RUNS, "ns", "base")
    assert found is not None
    assert found["status"] == {"phase": "Succeeded"}


def test_versions_are_compared_as_numbers() -> None:
    cache = Cache()
    cache.put(RUNS, raw(version=9, spec={"seed": 9}))
    assert cache.put(RUNS, raw(version=10, spec={"seed": 10})) == (RUN,)


def test_a_change_of_nothing_that_is_kept_wakes_nobody_but_counts_as_newer() -> None:
    cache = Cache()
    cache.put(RUNS, raw(version=1, spec={"seed": 1}))
    noise = {"managedFields": [{"manager": "kubectl"}], "annotations": {"argocd.argoproj.io/refresh": "normal"}}
    assert cache.put(RUNS, raw(version=2, spec={"seed": 1}, metadata=noise)) == ()
    assert cache.version(RUNS, "ns", "base") == "2"


def test_an_annotation_of_ours_is_kept_and_wakes() -> None:
    cache = Cache()
    cache.put(RUNS, raw(version=1))
    ours = {"annotations": {"plumbline.dev/retry": "1"}}
    assert cache.put(RUNS, raw(version=2, metadata=ours)) == (RUN,)


def test_what_is_gone_does_not_come_back() -> None:
    cache = Cache()
    cache.put(RUNS, raw(version=5))
    assert cache.remove(RUNS, raw(version=6)) == (RUN,)
    assert cache.put(RUNS, raw(version=4)) == ()
    assert cache.put(RUNS, raw(version=9)) == ()
    assert cache.get(RUNS, "ns", "base") is None
    assert cache.put(RUNS, raw(version=10, uid="u2")) == (RUN,), "one of the same name may be made anew"


def test_a_late_deletion_of_an_earlier_object_spares_its_successor() -> None:
    cache = Cache()
    cache.put(RUNS, raw(version=5, uid="u1"))
    cache.put(RUNS, raw(version=8, uid="u2"))
    assert cache.remove(RUNS, raw(version=7, uid="u1")) == ()
    assert cache.uid(RUNS, "ns", "base") == "u2"


def test_a_list_drops_what_it_does_not_hold() -> None:
    cache = Cache()
    cache.put(RUNS, raw("kept", 5, "u1"))
    cache.put(RUNS, raw("gone", 6, "u2"))
    cache.put(RUNS, raw("elsewhere", 6, "u3", namespace="other"))
    assert cache.retain(RUNS, "ns", [("ns", "kept")], "9") == (Key(Kind.ALIGNMENT_RUN, "ns", "gone"),)
    assert {key.name for key in cache.keys()} == {"kept", "elsewhere"}


def test_a_list_spares_what_is_younger_than_it() -> None:
    cache = Cache()
    cache.put(RUNS, raw("written", 12, "u1"))
    assert cache.retain(RUNS, None, [], "11") == ()
    assert cache.keys() == (Key(Kind.ALIGNMENT_RUN, "ns", "written"),)


def test_children_are_found_by_their_owner_and_executions_by_their_suite() -> None:
    cache = Cache()
    suite = Key(Kind.RED_TEAM_SUITE, "ns", "attacks")
    assert cache.put(JOBS, child("job", {LABEL_SUITE: "attacks"}, uid="j1")) == (RUN, suite)
    cache.put(CONFIG_MAPS, child("map", uid="c1", data={"run.json": "{}"}))
    assert [(resource, found["metadata"]["name"]) for resource, found in cache.members(OwnedBy(RUN))] == [
        (JOBS, "job"),
        (CONFIG_MAPS, "map"),
    ]
    assert [found["metadata"]["name"] for _, found in cache.members(ExecutedBy(suite))] == ["job"]
    assert cache.remove(JOBS, child("job", uid="j1")) == (RUN, suite)
    assert [resource for resource, _ in cache.members(OwnedBy(RUN))] == [CONFIG_MAPS]


def test_pods_are_found_by_their_job_or_deployment() -> None:
    cache = Cache()
    cache.put(PODS, child("job-1", {"batch.kubernetes.io/job-name": "job"}, uid="p1"))
    served = child("served-1", {"pod-template-hash": "abc"}, uid="p2")
    served["metadata"]["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": "served-abc", "uid": "r1", "controller": True}
    ]
    assert cache.put(PODS, served) == (RUN,)
    assert [found["metadata"]["name"] for _, found in cache.members(PodsOf(JOBS.kind, "ns", "job"))] == ["job-1"]
    assert [found["metadata"]["name"] for _, found in cache.members(PodsOf(DEPLOYMENTS.kind, "ns", "served"))] == [
        "served-1"
    ]


def test_a_child_that_changes_hands_wakes_both_owners() -> None:
    cache = Cache()
    cache.put(JOBS, child(version=1))
    other = Key(Kind.ALIGNMENT_RUN, "ns", "other")
    assert cache.put(JOBS, child(labels={LABEL_OWNER: "other"}, version=2)) == (other, RUN)
    assert not list(cache.members(OwnedBy(RUN)))


def test_what_nobody_reads_is_not_kept() -> None:
    cache = Cache()
    containers = [{"name": "worker", "env": [{"name": "x"}]}]
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}
    cache.put(JOBS, child(uid="j1", spec={"suspend": False, "template": template}))
    cache.put(DEPLOYMENTS, child(uid="d1", spec={"selector": {}, "template": template}))
    cache.put(PODS, child(uid="p1", spec={"containers": containers, "volumes": [{}]}))
    cache.put(CONFIG_MAPS, child(uid="c1", data={"run.json": "secret"}))
    specs = {resource: (cache.get(resource, "ns", "job") or {}).get("spec") for resource in (JOBS, DEPLOYMENTS, PODS)}
    assert specs == {
        JOBS: {"suspend": False},
        DEPLOYMENTS: {"selector": {}, "template": {"metadata": {"labels": {"a": "b"}}}},
        PODS: {"initContainers": [], "containers": [{"name": "worker"}]},
    }
    assert "data" not in (cache.get(CONFIG_MAPS, "ns", "job") or {})


# Any order


@dataclass
class Server:
    """Objects with one history of versions, as an API server has them, and everything it ever said."""

    version: int = 0
    born: int = 0
    live: dict[str, Raw] = field(default_factory=dict)
    said: list[tuple[str, Raw]] = field(default_factory=list)
    lists: list[tuple[str, list[Raw]]] = field(default_factory=list)

    def do(self, step: str, name: str) -> None:
        self.version += 1
        if step == "write" and name not in self.live:
            self.born += 1
        if step == "write":
            uid = self.live[name]["metadata"]["uid"] if name in self.live else f"u{self.born}"
            self.live[name] = raw(name, self.version, uid, spec={"seed": self.version})
            self.said.append(("put", self.live[name]))
        elif step == "delete" and name in self.live:
            gone = self.live.pop(name)
            self.said.append(("remove", raw(name, self.version, gone["metadata"]["uid"])))
        elif step == "list":
            self.lists.append((str(self.version), list(self.live.values())))


STEPS = st.lists(st.tuples(st.sampled_from(["write", "write", "delete", "list"]), st.sampled_from("abc")), max_size=30)


@given(STEPS, st.data())
def test_in_whatever_order_things_are_heard_no_object_goes_back_in_time(
    steps: list[tuple[str, str]], data: st.DataObject
) -> None:
    server, cache = Server(), Cache()
    for step, name in steps:
        server.do(step, name)
    heard: list[tuple[str, Any]] = [*server.said, *(("list", one) for one in server.lists)]
    order = data.draw(st.permutations(heard + heard[::2]))
    newest: dict[str, int] = {}
    for kind, what in order:
        if kind == "list":
            version, objects = what
            for one in objects:
                cache.put(RUNS, one)
            cache.retain(RUNS, None, [("ns", one["metadata"]["name"]) for one in objects], version)
        else:
            (cache.put if kind == "put" else cache.remove)(RUNS, what)
        for key in cache.keys():
            version = int(cache.version(RUNS, "ns", key.name) or 0)
            assert version >= newest.get(key.name, 0)
            newest[key.name] = version
    server.do("list", "")
    version, objects = server.lists[-1]
    for one in objects:
        cache.put(RUNS, one)
    cache.retain(RUNS, None, [("ns", one["metadata"]["name"]) for one in objects], version)
    assert {key.name: (cache.get(RUNS, "ns", key.name) or {})["spec"] for key in cache.keys()} == {
        name: one["spec"] for name, one in server.live.items()
    }
