"""OpenAI's chat-completion request: what is accepted, what is refused, and what it means here.

`read_request` is called by `server`; the answer's form is in `replies`. Options this engine does not have are
refused by name instead of being ignored: a client that asks for tools or log-probabilities must not believe it got
them. Error messages never quote the conversation.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

__all__ = ["ChatRequest", "Message", "RequestRefused", "StreamOptions", "TextPart", "read_request"]


class RequestRefused(Exception):
    """A request that is answered with an error; the attributes become OpenAI's error object."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class TextPart(_Wire):
    """One part of a message; only text."""

    type: Literal["text"]
    text: str


class Message(_Wire):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None

    @property
    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(_Wire):
    """Extras of a stream."""

    include_usage: bool = False
    include_obfuscation: bool = False


class _TextFormat(_Wire):
    type: Literal["text"]


class ChatRequest(_Wire):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Accepted only where they ask for what happens anyway.
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    response_format: _TextFormat | None = None
    # Labels of the client's own; they change nothing about an answer.
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens differ; give one of them")
        if isinstance(self.stop, list) and len(self.stop) > 4:
            raise ValueError("stop: at most 4 strings")
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens the client wants."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


def read_request(body: bytes) -> ChatRequest:
    """Parse a request body.

    Raises:
        RequestRefused: status 400, with the field it is about.
    """
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = _path(problem["loc"])
        if problem["type"] == "extra_forbidden":
            raise RequestRefused(
                400,
                f"{param}: this engine does not support it; leave it out",
                code="unsupported_parameter",
                param=param,
            ) from error
        text = f"{param}: {problem['msg']}" if param else str(problem["msg"])
        raise RequestRefused(400, text, code="invalid_request", param=param or None) from error


def _path(location: tuple[int | str, ...]) -> str:
    """`messages[0].content` from pydantic's location, without the names of union arms."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier():
            path += f".{step}" if path else step
    return path
