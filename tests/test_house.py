"""The house rules no other tool holds: sizes, names, places, and what an import may do."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, tracked

DISTRIBUTIONS = {
    "plumbline_api": ROOT / "crds",
    "plumbline_store": ROOT / "store",
    "plumbline_operator": ROOT / "operator",
    "plumbline_trainer": ROOT / "trainer",
    "plumbline_guard": ROOT / "images/guard",
    "plumbline_evaluator": ROOT / "images/evaluator",
}
MAX_MODULE, MAX_FUNCTION = 400, 50
BAGS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}
READ_SETTINGS = {"main", "settings", "__main__"}
# Writes what torch reads in a process that trains with others.
WRITES_SETTINGS = {"ranks"}
HEAVY = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
# Written in two parts, or this file would be the first to hold them.
ADDRESSES = tuple(
    "".join(parts)
    for parts in [
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("download.", "pytorch.org"),
        ("registry.", "npmjs"),
        ("proxy.", "golang.org"),
    ]
)


def sources() -> Iterator[tuple[str, Path]]:
    """Each module of each distribution, with its dotted name."""
    for package, folder in DISTRIBUTIONS.items():
        for path in sorted((folder / "src" / package).rglob("*.py")):
            parts = path.relative_to(folder / "src").with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__"), path


def python_files() -> list[Path]:
    """Every Python file: the distributions, tests and examples."""
    return [path for path in tracked() if path.suffix == ".py"]


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path, line: int = 1) -> str:
    """Where a complaint points to."""
    return f"{path.relative_to(ROOT)}:{line}"


def texts(module: ast.Module) -> Iterator[ast.Constant]:
    """Every string of a module that is not a docstring or a string standing alone."""
    alone = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, without decorators and docstring."""
    first = function.body[0]
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        first = function.body[1]
    return (function.end_lineno or 0) - first.lineno + 2


def test_no_module_is_longer_than_400_lines() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert not [f"{place(path)} has {n}" for path, n in sizes.items() if n > MAX_MODULE]


def test_no_function_is_longer_than_50_lines() -> None:
    assert not [
        f"{place(path, node.lineno)} {node.name} has {length(node)}"
        for _, path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > MAX_FUNCTION
    ]


def test_modules_are_nouns_of_what_they_hold_and_never_bags() -> None:
    assert not [name for name, _ in sources() if BAGS & set(name.split("."))]
    assert not [place(path) for path in python_files() if path.stem in BAGS]


def test_every_module_opens_with_a_docstring() -> None:
    assert not [
        place(path)
        for path in python_files()
        if tree(path).body and not path.name.startswith("test_") and not ast.get_docstring(tree(path))
    ]


def test_the_folder_operator_shadows_no_standard_module() -> None:
    assert not (ROOT / "operator/__init__.py").exists()


def test_every_level_of_the_tests_is_a_package() -> None:
    folders = {path.parent for path in python_files() if path.is_relative_to(ROOT / "tests")}
    assert not [place(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_the_environment_is_read_only_where_settings_are_made() -> None:
    def reads(node: ast.AST) -> bool:
        names = {"environ", "environb", "getenv"}
        if isinstance(node, ast.Attribute):
            return node.attr in names and ast.unparse(node.value) == "os"
        return (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and bool(names & {alias.name for alias in node.names})
        )

    assert not [
        place(path, getattr(node, "lineno", 1))
        for _, path in sources()
        if path.stem not in READ_SETTINGS | WRITES_SETTINGS
        for node in ast.walk(tree(path))
        if reads(node)
    ]


def test_the_group_name_stands_in_one_module() -> None:
    group = "plumbline" + ".dev"
    assert {name for name, path in sources() for text in texts(tree(path)) if group in str(text.value)} <= {
        "plumbline_api.names"
    }


def test_public_names_are_sorted_and_exist() -> None:
    for name, path in sources():
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                public = ast.literal_eval(node.value)
                assert len(public) == len(set(public)), f"{name}: a name stands twice in __all__"
                assert set(public) <= defined(tree(path)), f"{name}: __all__ names what is not there"


def defined(module: ast.Module) -> set[str]:
    """The names a module binds at its top level."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


@pytest.mark.parametrize("package", DISTRIBUTIONS)
def test_a_distribution_imports_only_what_it_declares(package: str) -> None:
    project = tomllib.loads((DISTRIBUTIONS[package] / "pyproject.toml").read_text())["project"]
    declared = {normal(re.split(r"[<>=;\[ ]", text)[0]) for text in project["dependencies"]}
    owners = packages_distributions()
    for name, path in sources():
        if not name.startswith(package):
            continue
        for top, line in imported(tree(path)):
            if top in sys.stdlib_module_names or top == package:
                continue
            found = {normal(owner) for owner in owners.get(top, [top])}
            assert found & declared, f"{place(path, line)}: {top} is not declared by {package}"


def test_the_lock_holds_whatever_a_distribution_declares() -> None:
    pinned = re.findall(r"^(\S+?)==", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE)
    for package, folder in DISTRIBUTIONS.items():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        declared = {normal(re.split(r"[<>=;\[ ]", text)[0]) for text in project["dependencies"]}
        assert declared <= {*pinned, *map(normal, DISTRIBUTIONS)}, package


def test_the_contract_stays_light() -> None:
    project = tomllib.loads((ROOT / "crds/pyproject.toml").read_text())["project"]
    declared = {normal(re.split(r"[<>=]", text)[0]) for text in project["dependencies"]}
    assert declared <= {"pydantic", "pydantic-core", "pyyaml"}


def normal(distribution: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported(module: ast.Module) -> Iterator[tuple[str, int]]:
    """The top-level packages a module imports, anywhere in it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0], node.lineno


# Run in a fresh interpreter: no environment, no network, and for the quick test no torch.
IMPORT_ALL = """
import importlib, sys

names, banned = sys.argv[1].split(","), set(filter(None, sys.argv[2].split(",")))

def refuse(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise PermissionError(event)
    if event in ("subprocess.Popen", "os.system", "os.fork") and not banned == set():
        raise PermissionError(event)

class Ban:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in banned:
            raise ImportError("heavy: " + name)

sys.meta_path.insert(0, Ban())
sys.addaudithook(refuse)
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        if not str(error).startswith("heavy: "):
            raise
        print(name)
"""


def import_all(names: list[str], banned: tuple[str, ...]) -> set[str]:
    """Import modules in an empty environment; return those that wanted a banned package."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_ALL, ",".join(names), ",".join(banned)],
        env={},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.split())


def modules_of(*packages: str) -> list[str]:
    """The importable modules of some distributions; __main__ is a program, not a module."""
    return [name for name, _ in sources() if name.split(".")[0] in packages and not name.endswith(".__main__")]


@pytest.mark.parametrize("package", [name for name in DISTRIBUTIONS if name != "plumbline_trainer"])
def test_importing_a_light_package_needs_no_environment_no_network_and_no_torch(
    package: str,
) -> None:
    assert import_all(modules_of(package), HEAVY) == set()


def test_the_trainer_reaches_its_cheap_checks_before_torch() -> None:
    wants_torch = import_all(modules_of("plumbline_trainer"), HEAVY)
    assert not [name for name in wants_torch if name.rpartition(".")[2] in READ_SETTINGS]


def test_the_operator_does_not_hold_what_only_other_commands_need() -> None:
    loaded = ["plumbline_operator.main", "plumbline_operator.kube.shell"]
    assert import_all(loaded, ("boto3", "cryptography")) == set()


@pytest.mark.local
def test_importing_the_trainer_needs_no_environment_and_no_network() -> None:
    assert import_all(modules_of("plumbline_trainer"), ()) == set()


def test_no_file_names_the_address_of_a_package_registry() -> None:
    assert not [
        place(path) for path in tracked() if any(address.encode() in path.read_bytes() for address in ADDRESSES)
    ]


def test_the_locks_hold_hashes_and_no_addresses() -> None:
    for lock in sorted((ROOT / "requirements").rglob("*.txt")):
        text = lock.read_text()
        assert "://" not in text, place(lock)
        pins = re.findall(r"^\S+==", text, re.MULTILINE)
        hashed = re.findall(r"^\S+==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)
        assert pins, place(lock)
        assert len(pins) == len(hashed), place(lock)
