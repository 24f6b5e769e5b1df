"""A zoo in a repository of the Hugging Face hub: ``hf:owner/name``.

Reading needs nothing but the network: the hub serves files by URL. Writing needs ``huggingface_hub`` and a token.
``$HF_ENDPOINT`` names another hub and ``$HF_TOKEN`` opens what is private, as everywhere.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from ibal.options import ConfigError
from ibal.registry import quoted

PREFIX = "hf:"
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def is_hub(where: str) -> bool:
    """Say whether a place is a repository of the hub."""
    return where.startswith(PREFIX)


def repository(where: str) -> str:
    """Return "owner/name" of a place. Raises ConfigError for what is no such name."""
    name = where.removeprefix(PREFIX)
    if not _NAME.fullmatch(name) or ".." in name:
        raise ConfigError(f"{quoted(where)} is no repository of the hub; write {PREFIX}OWNER/NAME")
    return name


def url(where: str) -> str:
    """Return the URL that the newest files of a repository lie below."""
    return f"{_endpoint()}/{repository(where)}/resolve/main"


def token() -> str | None:
    """Return what opens private repositories, if anything does."""
    return os.environ.get("HF_TOKEN") or None


def head(where: str) -> str | None:
    """Return the newest commit of a repository, made if it is missing.

    Raises ConfigError where the hub cannot be used.
    """
    name = repository(where)
    with _told(where) as hub:
        api = hub.HfApi(endpoint=_endpoint(), token=token())
        api.create_repo(name, exist_ok=True)
        return api.model_info(name).sha


def write(where: str, files: Mapping[str, bytes], message: str, after: str | None) -> None:
    """Put files into a repository, all in one commit or none.

    Args:
        where: The repository.
        files: Contents by path.
        message: What the commit says.
        after: The commit that they were made for; where the repository has gone on since, nothing is written.

    Raises:
        ConfigError: The hub does not take them.
    """
    name = repository(where)
    with _told(where) as hub:
        parts = [hub.CommitOperationAdd(path, content) for path, content in files.items()]
        api = hub.HfApi(endpoint=_endpoint(), token=token())
        api.create_commit(name, parts, commit_message=message, parent_commit=after)


@contextmanager
def _told(where: str) -> Generator[Any]:
    """Give the hub's library, and tell what goes wrong there in one sentence."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ConfigError("writing to the hub needs huggingface_hub: pip install 'ibal[hub]'") from error
    try:
        yield hub
    except Exception as error:  # its own, and those of the HTTP library that it happens to use
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{where} was not changed: {said} (HF_TOKEN must be allowed to write there)") from error


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
