"""`plumbline run` without its command line: applies a run of one stage and brings it to rest.

Started by tests as a program of its own, so that it can be killed: driver.py FOLDER [WAIT] [replace]
"""

import asyncio
import json
import sys
from pathlib import Path

from plumbline_operator.local.errors import LocalError
from plumbline_operator.local.records import key_of
from plumbline_operator.local.session import ManifestObject, open_session
from tests.port.place import local_settings
from tests.support import build


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def drive(folder: Path, wait: float) -> None:
    run = build.run()
    settings = local_settings(folder)
    async with open_session(folder / "state", settings, wait=wait, on_wait=say) as session:
        await session.apply([ManifestObject(run, folder / "run.yaml")])
        say("applied")
        snapshot = await session.run_until_settled([key_of(run)], lambda _: None)
    say(json.dumps(snapshot.views[key_of(run)].status.dump()))


def main() -> int:
    folder, wait = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    try:
        asyncio.run(drive(folder, wait))
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
