"""Which registry is meant, who we are to it, and what its troubles mean; the protocol is tested in tests/e2e."""

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from plumbline_api.names import ExitCode
from plumbline_operator.bundle.accounts import PASSWORD, USER, Account, account_from_environment, account_from_files
from plumbline_operator.bundle.errors import BundleError
from plumbline_operator.bundle.layout import Part
from plumbline_operator.bundle.registry import Pauses, Registry
from plumbline_operator.bundle.target import parse_target, trust_of
from tests.support.build import digest

BLOB = Part(digest("blob"), 3, "application/octet-stream")
ACCOUNT = Account("somebody", "secret")


@pytest.mark.parametrize(
    ("text", "host", "registry", "plain"),
    [
        ("registry.internal", "registry.internal", "registry.internal", False),
        ("https://registry.internal:5000/", "registry.internal:5000", "registry.internal:5000", False),
        ("registry.internal/team/models", "registry.internal", "registry.internal/team/models", False),
        ("http://127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1:5000", True),
        ("http://localhost", "localhost", "localhost", True),
    ],
)
def test_a_registry_is_a_host_and_perhaps_a_path(text: str, host: str, registry: str, *, plain: bool) -> None:
    target = parse_target(text)
    assert (target.host, target.registry, target.plain) == (host, registry, plain)
    assert f"{target.host}/{target.repository('plumbline/guard')}" == f"{registry}/plumbline/guard"


@pytest.mark.parametrize("text", ["", "ftp://x", "registry.internal/Team", "a b", "user:word@registry.internal", "x:y"])
def test_anything_else_is_no_registry(text: str) -> None:
    with pytest.raises(BundleError, match="is no registry; write HOST"):
        parse_target(text)


@pytest.mark.parametrize("host", ["registry.internal", "10.0.0.1:5000", "128.0.0.1", "127.0.0.1.evil.example"])
def test_nothing_goes_over_http_to_another_machine(host: str) -> None:
    with pytest.raises(BundleError, match="everybody can read and change them") as refused:
        parse_target(f"http://{host}")
    assert refused.value.exit_code == ExitCode.BAD_SPEC


def test_a_file_that_holds_no_authority_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    for name, said in (("ca.crt", "holds no certificate"), ("none", "No such file")):
        with pytest.raises(BundleError, match=said):
            trust_of(tmp_path / name)


def logins(path: Path, **entries: str) -> Path:
    auths = {place: {"auth": base64.b64encode(told.encode()).decode()} for place, told in entries.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": auths}))
    return path


def test_the_longest_path_that_has_a_login_counts(tmp_path: Path) -> None:
    path = logins(tmp_path / "auth.json", **{"r.example/team": "inner:a:b", "r.example": "outer:c"})
    assert account_from_files("r.example/team/more", path, {}) == Account("inner", "a:b")
    assert account_from_files("r.example/other", path, {}) == Account("outer", "c")
    assert account_from_files("r.example.org", path, {}) is None
    old = logins(tmp_path / "old.json", **{"https://r.example/v1/": "old:d"})
    assert account_from_files("r.example", old, {}) == Account("old", "d")


def test_logins_are_found_where_docker_and_podman_keep_them(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    assert account_from_files("r.example", None, environment) is None
    logins(tmp_path / ".docker/config.json", **{"r.example": "docker:a"})
    assert account_from_files("r.example", None, environment) == Account("docker", "a")
    logins(tmp_path / "run/containers/auth.json", **{"r.example": "podman:a"})
    at_run_time = {**environment, "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert account_from_files("r.example", None, at_run_time) == Account("podman", "a")


def test_what_a_helper_keeps_is_not_taken_for_no_login(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {"r.example": {}}, "credsStore": "desktop"}))
    with pytest.raises(BundleError, match="in the program desktop, which is not asked; set PLUMBLINE_REGISTRY_USER"):
        account_from_files("r.example", path, {})
    assert account_from_files("other.example", path, {}) is None


def test_a_file_of_logins_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    for content in ("no JSON", "[]", '{"auths": {"r.example": {"auth": "%"}}}'):
        path.write_text(content)
        with pytest.raises(BundleError, match="is no file of logins"):
            account_from_files("r.example", path, {})
    with pytest.raises(BundleError, match="is not there; name the file of docker login"):
        account_from_files("r.example", tmp_path / "none", {})


def test_both_variables_are_needed_and_no_message_has_the_password() -> None:
    assert account_from_environment({USER: "somebody", PASSWORD: "secret"}) == ACCOUNT
    assert "secret" not in repr(ACCOUNT)
    with pytest.raises(BundleError, match=f"{PASSWORD} not set"):
        account_from_environment({USER: "somebody"})


Handler = Callable[[web.Request], Awaitable[web.Response]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts registries that answer as told; gives their addresses."""
    runners = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def registry(address: str, account: Account | None = None, tries: int = 1) -> Registry:
    return Registry(parse_target(address), account, trust_of(None), ["it"], Pauses((0.0,) * (tries - 1)))


async def refusal(address: str, account: Account | None = None) -> BundleError:
    async with registry(address, account) as here:
        with pytest.raises(BundleError) as refused:
            await here.has("it", BLOB)
    return refused.value


async def test_a_token_is_fetched_for_all_repositories_and_renewed_when_it_is_no_longer_good(serve: Serve) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/token":
            asked.append(request.query_string)
            assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"somebody:secret").decode()
            return web.json_response({"token": f"number-{len(asked)}"})
        if request.headers.get("Authorization") != f"Bearer number-{1 if request.path.endswith('1') else 2}":
            challenge = f'Bearer realm="http://{request.host}/token",service="it",scope="registry:catalog:*"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.Response(status=200)

    async with registry(await serve(answer), ACCOUNT) as here:
        assert await here.has("it", BLOB, "1")
        assert await here.has("it", BLOB, "2")
    assert asked == ["service=it&scope=repository:it:pull,push"] * 2


async def test_no_password_goes_to_a_service_without_https(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        challenge = 'Bearer realm="http://tokens.example/token",service="it"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    assert "'http://tokens.example/token', which is no HTTPS" in str(await refusal(await serve(answer), ACCOUNT))


@pytest.mark.parametrize(
    ("status", "account", "said", "code"),
    [
        (401, None, "wants an account .*; log in with docker", ExitCode.NOT_PERMITTED),
        (401, ACCOUNT, "does not take the account somebody .*; check user and password", ExitCode.NOT_PERMITTED),
        (403, ACCOUNT, "does not let somebody write", ExitCode.NOT_PERMITTED),
        (413, ACCOUNT, "takes no files that large .*; raise the limit of its proxy", ExitCode.UNAVAILABLE),
        (418, ACCOUNT, "answers 418; look into its log", ExitCode.UNAVAILABLE),
        (503, ACCOUNT, "answers 503, 1 times; run the same command again", ExitCode.UNAVAILABLE),
    ],
)
async def test_a_refusal_is_told_with_a_remedy(
    serve: Serve, status: int, account: Account | None, said: str, code: int
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"WWW-Authenticate": 'Basic realm="site"'} if status == 401 else {})

    refused = await refusal(await serve(answer), account)
    assert re.search(said, str(refused))
    assert refused.exit_code == code
    assert "secret" not in str(refused)


async def test_what_passes_is_tried_again_and_counted_once(serve: Serve, tmp_path: Path) -> None:
    calls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.method)
        if request.method == "PUT":
            assert request.query["digest"] == BLOB.digest
            return web.Response(status=503 if calls.count("PUT") == 1 else 201)
        assert request.method == "POST" or await request.read() == b"abc"
        return web.Response(status=202, headers={"Location": "/upload?state=1"})

    (tmp_path / "blob").write_bytes(b"abc")
    counted: list[int] = []
    async with registry(await serve(answer), tries=2) as here:
        await here.upload("it", BLOB, tmp_path / "blob", counted.append)
    assert calls == ["POST", "PATCH", "PUT"] * 2
    assert sum(counted) == 3


async def test_a_registry_that_is_not_there_cannot_be_reached() -> None:
    refused = await refusal("http://127.0.0.1:1")
    assert refused.exit_code == ExitCode.UNAVAILABLE
    assert "cannot be reached" in str(refused)
