"""What holds for every test: time limits per marker, no network beyond this machine, the same examples each run."""

import os
import sys

import hypothesis
import pytest

from tests.cluster.faults.ledger import FAULTS, Fault, table
from tests.support.checkout import ROOT
from tests.support.reachable import is_here

TABLE = ROOT / "build/faults.md"

SECONDS = {"local": 600, "cluster": 300, "bench": 300, "e2e": 300, "real": 3600}

# Before anything imports torch: tests share their cores, and a waiting thread must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", DO_NOT_TRACK="1")

# A run repeats exactly, and a slow moment of the machine is no failure; look for new counterexamples
# with: pytest --hypothesis-profile=explore
hypothesis.settings.register_profile("repeat", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("repeat")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Only here, because options are read before the folder that they are for."""
    parser.addoption("--all-faults", action="store_true", help="inject each fault as often as docs/faults.md tells")
    parser.addoption("--node-alone", action="store_true", help="on a real node, leave out what takes images or Argo CD")


def pytest_configure() -> None:
    """Refuse, from here on, every connection and name look-up that leaves this machine."""
    sys.addaudithook(_stay_on_this_machine)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a marked test the time of its marker, unless it names its own."""
    for item in items:
        if item.get_closest_marker("timeout"):
            continue
        limits = [limit for name, limit in SECONDS.items() if item.get_closest_marker(name)]
        if limits:
            item.add_marker(pytest.mark.timeout(max(limits)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests told, whichever process they ran in; keep the table of faults."""
    reports = [report for several in terminalreporter.stats.values() for report in several]
    told = [told for report in reports for told in getattr(report, "user_properties", ())]
    sections = {title: text for title, text in told if title != FAULTS}
    if rows := [Fault(**row) for title, row in told if title == FAULTS]:
        sections[FAULTS] = table(rows)
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(sections[FAULTS], encoding="utf-8")
    for title, text in sections.items():
        terminalreporter.section(title)
        terminalreporter.write_line(text)


def _stay_on_this_machine(event: str, args: tuple[object, ...]) -> None:
    host: object = None
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    if host is not None and not is_here(host):
        raise PermissionError(f"tests stay on this machine, but this one wants {host!r}")
