"""Signed artifacts: what pods are told, what is decided where a run would sign nothing, which settings are refused."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plumbline_api.names import CONTAINER_ENGINE, CONTAINER_GUARD, ENV_SIGNING_KEY, ENV_TRUST, RUN_FILE, Image
from plumbline_api.reasons import ConditionType, Phase, Reason
from plumbline_api.report import Result, Summary
from plumbline_operator.kube.settings import BadSettings, settings_from
from plumbline_operator.kube.workloads.states import deployment_state
from plumbline_operator.local.offered import Unplannable
from plumbline_operator.local.volumes import make_volumes
from plumbline_operator.plan.signing import signing_volumes
from plumbline_operator.status.conditions import find_condition
from tests.support import build, kubeobjects, planned
from tests.support.check_status import check_status
from tests.support.kubeobjects import pod, reason_of, running, words_of
from tests.support.planned import CLUSTER
from tests.support.signing import make_pair, other_keys
from tests.support.world import World, key_of

Manifest = dict[str, Any]
SIGN: Manifest = {"output": {"sign": {"secret": "release-key"}}}
WARY = replace(CLUSTER, trust="-----BEGIN PUBLIC KEY-----")
TEMPLATES = planned.pod_templates(WARY)


def variables(container: Manifest) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def signing_stage(**spec: Any) -> Manifest:
    template: Manifest = planned.stage(**SIGN, **spec)[-1].manifest["spec"]["template"]
    return template


# What is planned


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_every_program_that_reads_artifacts_is_told_whom_to_trust(template: Manifest) -> None:
    spec = template["spec"]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        told = variables(container).get(ENV_TRUST)
        stranger = container["image"] == WARY.images[Image.VLLM]
        assert told == (None if container["name"] == CONTAINER_GUARD or stranger else WARY.trust)


def test_the_key_is_a_file_that_a_stage_which_signs_can_only_read() -> None:
    template = signing_stage()
    (worker,) = template["spec"]["containers"]
    (mount,) = [mount for mount in worker["volumeMounts"] if mount["name"] == "signing"]
    assert mount == {"name": "signing", "mountPath": "/plumbline/signing", "readOnly": True}
    assert variables(worker)[ENV_SIGNING_KEY] == "/plumbline/signing/signing.key"
    (volume,) = [volume for volume in template["spec"]["volumes"] if volume["name"] == "signing"]
    items = [{"key": "signing.key", "path": "signing.key"}]
    assert volume["secret"] == {"secretName": "release-key", "items": items, "defaultMode": 0o440}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_no_other_pod_gets_a_key(template: Manifest) -> None:
    assert "signing" not in json.dumps(template).lower()


def test_every_node_of_a_stage_that_signs_has_the_key() -> None:
    (worker,) = signing_stage(compute={"nodes": 2})["spec"]["containers"]
    assert ENV_SIGNING_KEY in variables(worker)


def test_signing_changes_no_result() -> None:
    def cache_key(**spec: Any) -> str:
        (config,) = [child for child in planned.stage(**spec) if child.ref.kind == "ConfigMap"]
        return str(json.loads(config.manifest["data"][RUN_FILE])["cacheKey"])

    assert cache_key() == cache_key(**SIGN)


def test_what_is_served_is_loaded_again_when_other_keys_are_trusted() -> None:
    def name(trust: str | None) -> str:
        return planned.serving(replace(CLUSTER, trust=trust))[-1].ref.name

    assert len({name(None), name("one"), name("two")}) == 3
    assert name("one") == name("one")


# What is decided


def decided(world: World, run: Any) -> World:
    decision = asyncio.run(world.step(key_of(run)))
    check_status(decision.status, 1)
    return world


def test_where_only_signed_models_are_trusted_a_run_that_signs_nothing_starts_nothing() -> None:
    run = build.run()
    world = decided(World(runtime=replace(build.RUNTIME, trust="keys")).add(run), run)
    assert world.created == []
    status = world.run_status("base")
    stalled = find_condition(status.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert (status.phase, stalled.reason) == (Phase.STALLED, Reason.BAD_SPEC)
    assert "spec.output.sign is missing" in stalled.message


@pytest.mark.parametrize(("trust", "spec"), [("keys", SIGN), (None, {}), (None, SIGN)])
def test_any_other_run_starts(trust: str | None, spec: Manifest) -> None:
    run = build.run(**spec)
    world = decided(World(runtime=replace(build.RUNTIME, trust=trust)).add(run), run)
    assert any(name.startswith("Job/") for name in world.created)


def test_an_engine_that_refuses_an_unsigned_model_is_told_by_its_own_reason() -> None:
    summary = Summary(result=Result.FAILED, reason=Reason.SIGNATURE_INVALID, message="model x is not signed; sign it")
    ended = {"exitCode": 65, "reason": "Error", "message": summary.model_dump_json(by_alias=True)}
    bad = running(CONTAINER_ENGINE, last=ended, restarts=1) | {"ready": False}
    served = pod(running(CONTAINER_GUARD), bad, owner="rs-1", labels={"revision": "r1"})
    state = deployment_state(kubeobjects.deployment(), [served], None, build.later(5))
    assert (reason_of(state), state.hopeless) == (Reason.SIGNATURE_INVALID, True)
    assert "model x is not signed; sign it" in words_of(state)


# Settings


def settings(keys: dict[str, str]) -> str | None:
    images = {image.value: reference for image, reference in build.RUNTIME.images.items()}
    pods = json.dumps({"images": images, "store": "s3://bucket/prefix", "trust": keys})
    return settings_from({"PLUMBLINE_PODS": pods}).runtime.trust


def test_trusted_keys_are_the_same_in_any_order_and_form(tmp_path: Path) -> None:
    one, two = make_pair(tmp_path, "one").public, make_pair(tmp_path, "two").public
    assert settings({"a": one, "b": two}) == settings({"b": f"\n{one}\n", "a": two.replace("\n", "\r\n")})
    assert settings({}) is None


def test_keys_that_cannot_be_trusted_are_refused_when_the_operator_starts(tmp_path: Path) -> None:
    cases = {
        "trust.a: there is no public key": "nonsense",
        "trust.a: this public key is not EC on the curve P-256": other_keys(tmp_path)["Ed25519"].public,
        "trust.a: there is a private key": make_pair(tmp_path).key_file.read_text(),
    }
    for words, key in cases.items():
        with pytest.raises(BadSettings) as refused:
            settings({"a": key})
        assert words in refused.value.problems[0]
        assert key not in str(refused.value)


# Local mode


def test_on_one_machine_a_file_stands_for_the_secret_and_is_not_copied(tmp_path: Path) -> None:
    spec = {"volumes": signing_volumes("release-key")}
    key = make_pair(tmp_path).key_file
    made = make_volumes(spec, work=tmp_path / "w", attempt=tmp_path / "a", texts=lambda _: None, signing_key=key)
    link = made["signing"] / "signing.key"
    assert (link.is_symlink(), link.resolve()) == (True, key.resolve())
    with pytest.raises(Unplannable, match=r"Secret release-key is not known on this machine.*--sign-with FILE"):
        make_volumes(spec, work=tmp_path / "w", attempt=tmp_path / "b", texts=lambda _: None)
