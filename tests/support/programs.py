"""Small real programs that behave as told, under the names of the programs that pods run."""

import json
import sys
from pathlib import Path

from tests.support import build

__all__ = ["install", "program", "starts"]

SOURCE = r'''#!{python} -SE
"""Does, one word after another, what the file beside it (this file's name and .told) lists for this start.

After `as=N` the words are for node N alone.
"""
import json, os, signal, sys, time

told = json.load(open(sys.argv[0] + ".told"))
with open(sys.argv[0] + ".starts", "a") as starts:
    starts.write(str(os.getpid()) + "\n")
count = len(open(sys.argv[0] + ".starts").readlines())
words = told["plans"][min(count, len(told["plans"])) - 1].split()


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


def summarise(result, message=""):
    summary = dict(told["summary"], result=result)
    if message:
        summary.update(message=message, reason="BadData")
    with open(os.environ["PLUMBLINE_TERMINATION_LOG"], "w") as log:
        json.dump(summary, log)


def leave(code):
    sys.stdout.flush()
    os._exit(code)


def serve(port, path_file):
    import socket

    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        if path_file is None or os.path.exists(path_file):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        connection.close()


rank, mine = os.environ.get("PET_NODE_RANK", "0"), True
for word in words:
    verb, _, value = word.partition("=")
    if verb == "as":
        mine = rank == value
    elif not mine:
        continue
    elif verb == "first":
        mark = os.path.join(option("--work"), "begun")
        if not os.path.exists(mark):
            open(mark, "w").close()
            leave(int(value))
    elif verb == "succeed":
        summarise("Succeeded")
        leave(0)
    elif verb == "exit":
        leave(int(value))
    elif verb == "fail":
        summarise("Failed", "rows.jsonl:7: chosen equals rejected; correct the row")
        leave(int(value))
    elif verb == "garbage":
        open(os.environ["PLUMBLINE_TERMINATION_LOG"], "w").write("not a summary")
        leave(0)
    elif verb == "hang":
        while True:
            time.sleep(60)
    elif verb == "sleep":
        time.sleep(float(value))
    elif verb == "ignore-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif verb == "save-on-term":
        signal.signal(signal.SIGTERM, lambda *_: leave(75))
    elif verb == "out":
        os.write(1, value.encode() + b"\n")
    elif verb == "err":
        os.write(2, value.encode() + b"\n")
    elif verb == "eat":
        food = [bytearray(b"x" * (1 << 20)) for _ in range(int(value))]
    elif verb == "fork":
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
    elif verb == "dump":
        with open(sys.argv[0] + ".seen" + ("" if rank == "0" else rank), "w") as seen:
            json.dump({{"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd()}}, seen)
    elif verb == "touch":
        open(os.path.join(option("--work"), value), "a").write("x\n")
    elif verb == "need":
        if not os.path.exists(os.path.join(option("--work"), value)):
            leave(65)
    elif verb == "wait":
        while not os.path.exists(os.path.join(option("--work"), value)):
            time.sleep(0.02)
    elif verb == "note":
        with open(sys.argv[0] + ".notes", "a") as notes:
            notes.write(value + "\n")
    elif verb == "alone":
        import fcntl

        held = open(sys.argv[0] + ".alone", "w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            open(sys.argv[0] + ".notes", "a").write("two at once\n")
    elif verb == "finish-in":
        steps = os.path.join(option("--work"), "steps")
        while not os.path.exists(steps) or os.path.getsize(steps) < int(value):
            with open(steps, "a") as done:
                done.write(".")
            time.sleep(0.03)
    elif verb == "note-on-term":
        def handler(*_, value=value):
            with open(sys.argv[0] + ".notes", "a") as notes:
                notes.write(value + "\n")
            leave(0)
        signal.signal(signal.SIGTERM, handler)
    elif verb == "step":
        line = dict(progressPercentage=int(value), lastUpdatedTime="2026-01-31T12:00:00Z")
        line["metrics"] = [dict(name="step", value=value)]
        with open(os.environ["PLUMBLINE_PROGRESS"], "a") as progress:
            progress.write(json.dumps(line) + "\n")
    elif verb == "listen":
        serve(int(os.environ["PLUMBLINE_PORT_" + value]), None)
    elif verb == "listen-until":
        serve(int(os.environ["PLUMBLINE_PORT_" + value]), sys.argv[0] + ".ready")
    else:
        leave(64)
leave(0)
'''


def program(folder: Path, name: str, *plans: str) -> Path:
    """A program that follows the first plan at its first start, the next at its next, and repeats the last."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(SOURCE.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    told = {"plans": plans, "summary": build.training_summary("made").dump()}
    Path(f"{path}.told").write_text(json.dumps(told), encoding="utf-8")
    return path


def install(folder: Path, **plans: str) -> Path:
    """One program per image, with one plan each; the names of the arguments are those of the images."""
    for image, plan in plans.items():
        program(folder, f"plumbline-{image}", plan)
    return folder


def starts(path: Path) -> list[int]:
    """Process ids of all starts of a program."""
    log = Path(f"{path}.starts")
    return [int(line) for line in log.read_text().split()] if log.exists() else []
