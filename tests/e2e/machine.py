"""The machine that the node believes to be: processes, mounts and a network of its own, on this one's kernel.

The node cannot leave anything behind: its first process ends with the process that made it, however that ends, and
the kernel removes all other processes, containers, mounts, interfaces and packet filters with it. What lies in the
node's folder and in the cgroups is removed by whoever comes next.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.component import Component
from tests.cluster.programs import unsupported as no_control_plane
from tests.e2e.addresses import Addresses, free_numbers
from tests.e2e.build.packages import find_program
from tests.e2e.cgroups import make_cgroup, remove_cgroup

__all__ = ["Inhabitant", "Machine", "MachineError", "machine", "only_child", "unsupported"]

FIRST_PROCESS = Path(__file__).with_name("first_process.py")
INTERFACE = "plumbline"
"""With its number, this machine's end of the cable to a node: whoever makes it has the number's network."""
PATIENCE = 20.0
SETTINGS = {"/proc/sys/net/ipv4/ip_forward": 1, "/proc/sys/net/ipv6/conf/all/disable_ipv6": 1}
"""Pods reach each other through the node, and nothing has to be recorded for a second protocol."""
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts")


class MachineError(Exception):
    """What could not be set up, with the words of the program that refused."""


def unsupported() -> str:
    """Why this machine can run no node; empty where it can."""
    if reason := no_control_plane():
        return reason
    if os.geteuid() != 0:
        return f"a node needs the rights of root, and this is user {os.geteuid()}"
    return ""


class Inhabitant(Component):
    """A component that lives inside a machine; its process id is the one seen from outside."""

    def __init__(self, first: int, program: Path, arguments: Sequence[str], log: Path) -> None:
        super().__init__(program, arguments, log)
        self._first = first

    @property
    def pid(self) -> int:
        """Of the program itself, not of the one that entered the machine for it."""
        return only_child(super().pid) if self.running else 0

    def collect(self) -> None:
        """Wait for its end, after that of its machine."""
        self._wait(PATIENCE)

    def _command(self) -> list[str]:
        return [*entering(self._first), *super()._command()]

    def _environment(self) -> dict[str, str]:
        # It ends with the machine; its owner has no number that it could know in there.
        return dict(os.environ)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)


class Machine:
    """One node's namespaces and its cable to this machine; made by `machine`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cgroup = folder.name
        self.addresses = Addresses(0)
        """Known once it is started."""
        self._keeper: subprocess.Popen[str] | None = None
        self._first = 0
        self._inhabitants: list[Inhabitant] = []

    def start(self, hosts: Sequence[str]) -> None:
        """Bring it up, with a network that leads to this machine and nowhere else.

        Args:
            hosts: Names under which the node finds this machine.

        Raises:
            MachineError: A program that is needed refused, or no network is free.
        """
        make_cgroup(self.cgroup)
        etc = self.folder / "etc"
        etc.mkdir()
        for name in ("hosts", "resolv.conf"):
            (etc / name).touch()
        self._begin()
        self.addresses = self._connect()
        here, node = self.addresses.host, self.addresses.node
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{here} {' '.join(hosts)}\n", encoding="utf-8")
        (etc / "resolv.conf").write_text(f"nameserver {node}\n", encoding="utf-8")

    def stop(self) -> None:
        """End everything in it at once, and wait until it is gone."""
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.communicate()
            _await_end(self._first)
        for inhabitant in self._inhabitants:
            inhabitant.collect()
        remove_cgroup(self.cgroup)

    def run(self, *command: str, text: str = "") -> str:
        """What a command prints that runs to its end inside.

        Raises:
            MachineError: It refused.
        """
        return _call([*entering(self._first), *command], text)

    def component(self, program: Path, arguments: Sequence[str]) -> Inhabitant:
        """A program that will run inside, with a log in the folder."""
        made = Inhabitant(self._first, program, arguments, self.folder / f"{program.name}.log")
        self._inhabitants.append(made)
        return made

    def seen(self, path: Path) -> Path:
        """A path inside, with what is mounted there, for whoever is outside."""
        return Path(f"/proc/{self._first}/root", *path.parts[1:])

    @property
    def namespace(self) -> str:
        """The kernel's name for its processes, as /proc/PID/ns/pid of each of them says."""
        return str(Path(f"/proc/{self._first}/ns/pid").readlink())

    def _begin(self) -> None:
        log = self.folder / "first-process.log"
        # PDEATHSIG twice: the keeper ends with us, and the first process with the keeper.
        command = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--fork", "--kill-child=KILL"]
        command += ["--pid", "--mount", "--net", "--ipc", "--uts", "--mount-proc"]
        command += ["--", sys.executable, "-I", "-S", str(FIRST_PROCESS), str(self.folder)]
        with log.open("wb") as errors:
            self._keeper = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        said = self._keeper.stdout.readline() if self._keeper.stdout else ""
        if said != "ready\n":
            raise MachineError(f"the first process of the node ended: {log.read_text(errors='replace')[-1000:]}")
        self._first = only_child(self._keeper.pid)

    def _connect(self) -> Addresses:
        """Lay a cable; its name is what keeps two nodes from taking the same network."""
        routes = [str(route["dst"]) for route in json.loads(_call(["ip", "-json", "route", "show", "table", "all"]))]
        for number in free_numbers(routes):
            cable = f"{INTERFACE}{number}"
            peer = ["type", "veth", "peer", "name", "eth0", "netns", str(self._first)]
            try:
                _call(["ip", "link", "add", cable, *peer])
            except MachineError as error:
                if "File exists" in str(error):
                    continue
                raise
            self._address(Addresses(number), cable)
            return Addresses(number)
        raise MachineError("no network from 10.200.0.0/16 to 10.231.0.0/16 is free on this machine")

    def _address(self, plan: Addresses, cable: str) -> None:
        _call(["ip", "address", "add", f"{plan.host}/24", "dev", cable])
        _call(["ip", "link", "set", cable, "up"])
        for name, value in SETTINGS.items():
            self.run("sh", "-c", f"[ ! -e {name} ] || echo {value} >{name}")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{plan.node}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", plan.host)
        _call(["ip", "route", "add", plan.network, "via", plan.node])


@contextmanager
def machine(folder: Path, hosts: Sequence[str] = ()) -> Iterator[Machine]:
    """A machine, up; afterwards nothing of it is left but its folder.

    Raises:
        MachineError: It could not be set up.
    """
    made = Machine(folder)
    try:
        made.start(hosts)
        yield made
    finally:
        made.stop()


def entering(first: int) -> list[str]:
    """The command that runs another one inside the machine of a first process."""
    return ["nsenter", "--target", str(first), *NAMESPACES, "--"]


def only_child(pid: int) -> int:
    """The process that another one has started, waited for.

    Raises:
        MachineError: There is none.
    """
    end = time.monotonic() + PATIENCE
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while time.monotonic() < end:
        try:
            found = children.read_text(encoding="ascii").split()
        except OSError:
            break
        if found:
            return int(found[0])
        time.sleep(0.005)
    raise MachineError(f"process {pid} has started no other")


def _await_end(pid: int) -> None:
    """Wait until the kernel has ended a first process and all that were in its namespaces."""
    end = time.monotonic() + PATIENCE
    while pid and Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.01)


def _call(command: Sequence[str], text: str = "") -> str:
    program = find_program(command[0])
    if program is None:
        raise MachineError(f"{command[0]} is not installed; run: make e2e")
    done = subprocess.run([program, *command[1:]], input=text, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise MachineError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
