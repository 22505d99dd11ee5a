"""One question to a served model, over the API that its clients use."""

import json
import urllib.request
from typing import Any

__all__ = ["ask"]


def ask(address: str, model: str, said: str) -> str:
    """The answer to one message, at temperature 0; the address is a guard's, such as http://127.0.0.1:8080."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": said}], "temperature": 0}
    request = urllib.request.Request(  # noqa: S310 - a test's own guard
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return str(json.load(answer)["choices"][0]["message"]["content"])
