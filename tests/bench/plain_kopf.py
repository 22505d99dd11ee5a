"""A plain kopf operator, as a rival: one create handler that makes one Job. Run by `kopf run`, with its own settings.

PLAIN_KOPF_JOB is a file with the Job to make; its name and owner are filled in.
"""

import os
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import orjson

JOB = orjson.loads(Path(os.environ["PLAIN_KOPF_JOB"]).read_bytes())
GROUP, VERSION, PLURAL = "plumbline.dev", "v1alpha1", "alignmentruns"


@kopf.on.startup()
async def connect(memo: kopf.Memo, settings: kopf.OperatorSettings, **_: Any) -> None:
    """Open connections to the API server that KUBECONFIG names."""
    info = kopf.login_with_kubeconfig(settings=settings)
    if info is None:
        raise kopf.PermanentError("KUBECONFIG is not set")
    connector = aiohttp.TCPConnector(ssl=info.as_ssl_context(), limit=0)
    memo.session = aiohttp.ClientSession(info.server, connector=connector)
    memo.job = JOB


@kopf.on.cleanup()
async def disconnect(memo: kopf.Memo, **_: Any) -> None:
    """Drop the connections."""
    await memo.session.close()


@kopf.on.create(GROUP, VERSION, PLURAL)
async def make_job(memo: kopf.Memo, name: str, namespace: str | None, body: kopf.Body, **_: Any) -> None:
    """Make the Job."""
    owner = {key: body["metadata"][key] for key in ("name", "uid")}
    owner |= {"apiVersion": body["apiVersion"], "kind": body["kind"], "controller": True, "blockOwnerDeletion": True}
    metadata = memo.job["metadata"] | {"name": f"{name}-train-0123456789", "ownerReferences": [owner]}
    job = orjson.dumps(memo.job | {"metadata": metadata})
    path, headers = f"/apis/batch/v1/namespaces/{namespace}/jobs", {"Content-Type": "application/json"}
    async with memo.session.post(path, data=job, headers=headers) as answer:
        if answer.status >= 400:
            raise kopf.TemporaryError(await answer.text(), delay=1)
        await answer.read()
