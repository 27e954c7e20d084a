"""Which engine a setting means: a model in this process, or one on servers."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from assistant.llm import hardware
from assistant.llm.engine import Engine
from assistant.llm.llama import Llama
from assistant.llm.model_server import Abilities
from assistant.llm.prompts import Prompts, load_prompts
from assistant.llm.reader import Reader
from assistant.llm.remote import RemoteEngine
from assistant.llm.states import StateCache
from assistant.model_files.model_address import ModelAddress, is_served
from assistant.model_files.models import resolve, sha256_of
from assistant.resources import resource
from assistant.settings import Settings

logger = logging.getLogger(__name__)

CONTEXT_TOKENS = 6144
MEMORY_BYTES = 192_000_000


def check_engine(settings: Settings) -> None:
    """Check the setting, without loading a model or asking a server.

    Raises:
        ModelError: The model is not here or its name is unknown; or its address is none.
    """
    if is_served(settings.model):
        ModelAddress.parse(settings.model)
    else:
        resolve(settings.model, settings.models_dir)


def open_engine(settings: Settings, prompts: Prompts) -> Engine:
    """Load the model, or look at its servers.

    Raises:
        ModelError: The model is missing, damaged, or does not fit into memory; no server can be
            reached, or they lack what is needed.
    """
    if is_served(settings.model):
        return _open_remote(settings, prompts)
    path = resolve(settings.model, settings.models_dir)
    model = Llama(
        path,
        context_tokens=CONTEXT_TOKENS,
        gpu_layers=settings.layers,
        threads=settings.threads,
    )
    if settings.layers != 0 and hardware.gpu_unused():
        logger.warning("there is a GPU, but llama.cpp does not use it; assistant doctor says why")
    try:
        return Reader(model, prompts, functools.partial(_states, settings, path))
    except BaseException:
        model.close()
        raise


def look_at_servers(settings: Settings) -> Abilities:
    """What the servers of the model can do.

    Raises:
        ModelError: As `open_engine`.
    """
    engine = _open_remote(settings, load_prompts(resource("prompts/answer.toml")))
    engine.close()
    return engine.abilities


def _open_remote(settings: Settings, prompts: Prompts) -> RemoteEngine:
    return RemoteEngine(
        ModelAddress.parse(settings.model),
        prompts,
        key=settings.model_key.get_secret_value() if settings.model_key else None,
        requests=settings.model_requests,
        timeout=settings.model_timeout,
        template=settings.model_template,
    )


def _states(settings: Settings, path: Path, name: str) -> StateCache:
    return StateCache(
        settings.states_dir / f"{sha256_of(path)[:16]}-{name}",
        disk_bytes=int(settings.states_gigabytes * 1e9),
        memory_bytes=MEMORY_BYTES,
    )
