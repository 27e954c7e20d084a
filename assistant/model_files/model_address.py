"""Where a model is served: the text behind `--model openai:`, taken apart. Contacts nobody.

    openai:http://one:8080/v1,http://two:8080/v1#name

The servers all run the same model; without a name it is the only one that they offer.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from assistant.errors import ModelServerError

PREFIX = "openai:"
_FORM = "openai:http://HOST:PORT/v1#NAME, several URLs separated by commas"


def is_served(model: str) -> bool:
    """Whether a model is one of a server."""
    return model.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """Servers, and the model's name there."""

    urls: tuple[str, ...]
    """Of the API, each with its version and without a slash at its end."""
    name: str | None

    @classmethod
    def parse(cls, model: str) -> ModelAddress:
        """Take a setting apart.

        Raises:
            ModelServerError: It is not of the form above.
        """
        text, _, name = model.removeprefix(PREFIX).partition("#")
        urls = tuple(dict.fromkeys(_checked(each.strip(), model) for each in text.split(",")))
        return cls(urls, name.strip() or None)


def _checked(url: str, model: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _complaint(f"{url!r} is no URL: {error}", model) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise _complaint(f"{url!r} is no URL of a server", model)
    if parts.query:
        raise _complaint(f"the URL {url!r} has a query", model)
    if parts.username is not None:
        message = "a URL must not hold a password"
        raise ModelServerError(
            message, model=PREFIX + host, hint="give the key as ASSISTANT_MODEL_KEY"
        )
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _complaint(message: str, model: str) -> ModelServerError:
    return ModelServerError(f"--model: {message}", model=model, hint=f"the form is {_FORM}")
