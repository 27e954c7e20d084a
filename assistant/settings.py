"""Settings: one flat record, read from `assistant.toml`, the environment and flags, in that order.

Each field's default and help text live here and nowhere else; the environment name is
``ASSISTANT_`` and the field's name in capitals.

The working folder may be somebody else's: a server that its `assistant.toml` names never gets a key
from anywhere else, and that such a file is in use is said (`Settings.notices`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from assistant.errors import SettingsError
from assistant.model_files.model_address import is_served
from assistant.settings_sources import NO_FILES_OPTION, NO_FILES_VARIABLE, Source, read_file
from vectorstore.collections import Collections, checked_name
from vectorstore.remote.address import Address

if TYPE_CHECKING:
    from vectorstore.places import Place

APP = "abstract-assistant"
DEFAULT_COLLECTION = "default"
DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct-q4_k_m"
EMBEDDING_MODEL = "all-minilm-l6-v2"
MOST_THREADS = 512
"""Threads of one model; llama.cpp ends the process if it is given more (GGML_MAX_N_THREADS)."""
MOST_LAYERS = 999
"""Layers that can be placed on a GPU; the largest models have fewer than 200."""


class Settings(BaseSettings):
    """Everything that can be chosen; frozen once made.

    Made by `load_settings`. The class itself takes what it is given, and reads nothing else.
    """

    model_config = SettingsConfigDict(
        env_prefix="ASSISTANT_",
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    model: str = Field(
        DEFAULT_MODEL,
        description="catalogue name, path of a GGUF file, hf:owner/repo/file.gguf, "
        "or openai:http://HOST:PORT/v1[,URL...][#NAME] for model servers",
    )
    model_key: SecretStr | None = Field(None, description="key that the model servers want")
    model_requests: int | None = Field(
        None, ge=1, le=256, description="requests to a model server at once; default: its slots"
    )
    model_timeout: float = Field(
        120.0,
        gt=0,
        le=1e6,
        description="seconds of silence after which a model server counts as dead",
    )
    model_template: Path | None = Field(
        None,
        description="file of the Jinja chat template, for servers that do not apply it; "
        "default: ChatML",
    )
    collection: str = Field(DEFAULT_COLLECTION, description="name of the collection of papers")
    collections_dir: Path = Field(
        default_factory=lambda: user_data_path(APP) / "collections",
        description="folder of the named collections",
    )
    store: str | None = Field(
        None,
        description="a Chroma server in place of a folder: http://HOST:PORT[/COLLECTION]",
    )
    store_token: SecretStr | None = Field(None, description="token that the Chroma server wants")
    replicas_dir: Path = Field(
        default_factory=lambda: user_cache_path(APP) / "replicas",
        description="folder of the copies of collections on Chroma servers",
    )
    index: Path = Field(
        default_factory=lambda chosen: _home(chosen),  # noqa: PLW0108 - defined below
        description="folder of the index, instead of a collection",
    )
    models_dir: Path = Field(
        default_factory=lambda: user_data_path(APP) / "models", description="folder of the models"
    )
    states_dir: Path = Field(
        default_factory=lambda: user_cache_path(APP) / "states",
        description="folder of the papers as the model has read them (KV states)",
    )
    states_gigabytes: float = Field(
        4.0,
        ge=0,
        le=1e6,
        description="disk space for KV states; least recently used go first; 0 keeps none",
    )
    gpu_layers: Annotated[int, Field(ge=-1, le=MOST_LAYERS)] | Literal["auto"] = Field(
        "auto", description="layers of the model to place on a GPU; auto = as many as there are"
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=MOST_THREADS,
        description="threads of the model; default: one for each core",
    )
    max_papers: int = Field(
        8, ge=1, le=14, description="papers that are retrieved, and that the model reads"
    )
    read_ahead: int = Field(
        100, ge=0, le=1_000_000_000, description="papers that the chat page reads while nobody asks"
    )
    conversations: Path = Field(
        default_factory=lambda: user_data_path(APP) / "conversations.sqlite3",
        description="file in which the page keeps conversations",
    )
    keep_conversations: bool = Field(
        True, description="keep conversations of the page; false forgets them when it is closed"
    )
    offline: bool = Field(False, description="never fetch a missing model")
    api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="what programs must send to `assistant serve`, and people as password",
    )
    rate_limit: str = Field(
        "240/minute", description="requests that programs may send from one address"
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="web sites whose scripts may use the API, as a JSON list"
    )
    _origins: Mapping[str, Source] = PrivateAttr(default_factory=dict)
    _notices: tuple[str, ...] = PrivateAttr(())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given; `load_settings` reads everything else, and notes where it was."""
        return (init_settings,)

    @field_validator("collection")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return checked_name(name)

    @property
    def collections(self) -> Collections:
        """The collections, each by its name."""
        return Collections(self.collections_dir, {DEFAULT_COLLECTION: _default_index()})

    def changed(self, **flags: Any) -> Settings:
        """The same settings, but for some; None puts one back to its default.

        Raises:
            SettingsError: A name is unknown or a value out of range.
        """
        named = (name for name in ("index", "store") if name in self.model_fields_set)
        place = next(named, "collection")
        left_out = _PLACES if _PLACES & flags.keys() else _PLACES - {place}
        given = {name: value for name, value in flags.items() if value is not None}
        kept = {**self.model_dump(exclude={*left_out, *flags}), **_checked_places(given)}
        made = _made(kept, {name: Source("flags") for name in flags})
        made._origins, made._notices = self._origins, self._notices
        return made

    @property
    def origins(self) -> Mapping[str, Source]:
        """Where the settings that are not at their defaults came from when they were loaded."""
        return self._origins

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user has to be told about where these settings came from."""
        return self._notices

    @property
    def is_default_index(self) -> bool:
        """Whether the user has named neither an index nor another collection."""
        is_named = {"index", "store"} & self.model_fields_set
        return not is_named and self.collection == DEFAULT_COLLECTION

    @property
    def place_name(self) -> str:
        """What the papers' place is called: the collection's name, else its folder or address."""
        is_elsewhere = {"index", "store"} & self.model_fields_set
        return str(self.place) if is_elsewhere else self.collection

    def require_collection(self) -> None:
        """Refuse a collection that is named and not there.

        Raises:
            CollectionError: The hint names the closest one.
        """
        is_elsewhere = {"index", "store"} & self.model_fields_set
        if not is_elsewhere and self.collection != DEFAULT_COLLECTION:
            self.collections.require(self.collection)

    @field_validator("store")
    @classmethod
    def _check_store(cls, text: str | None) -> str | None:
        return str(Address.parse(text)) if text else None

    @property
    def place(self) -> Place:
        """Where the index is."""
        from vectorstore.places import FolderPlace, ServerPlace

        if self.store is None:
            return FolderPlace(self.index)
        token = None if self.store_token is None else self.store_token.get_secret_value()
        return ServerPlace(Address.parse(self.store), self.index, token)

    @property
    def layers(self) -> int:
        """``gpu_layers`` as llama.cpp wants it: -1 is all."""
        return -1 if self.gpu_layers == "auto" else self.gpu_layers


_PLACES = frozenset({"index", "collection", "store"})
"""Settings each of which says where the papers are; the nearest source that has one wins."""
_KEYS = {"model": "model_key", "store": "store_token"}
"""Settings that name a server, each with the one that holds the key for it."""


def _home(chosen: Mapping[str, Any]) -> Path:
    if chosen.get("store"):
        return chosen["replicas_dir"] / Address.parse(chosen["store"]).folder_name  # type: ignore[no-any-return]
    homes = Collections(chosen["collections_dir"], {DEFAULT_COLLECTION: _default_index()})
    return homes.folder(chosen["collection"])


def _default_index() -> Path:
    return user_data_path(APP) / "index"


def settings_files() -> list[Path]:
    """The files that are read, the later one winning."""
    return [user_config_path(APP) / "assistant.toml", Path("assistant.toml")]


def load_settings(*, files: bool = True, **flags: Any) -> Settings:
    """Settings with the given flags on top; a flag that is None counts as not given.

    Args:
        files: False passes all settings files over.
        **flags: Settings by name.

    Raises:
        SettingsError: A name is unknown, a value out of range, or a file cannot be used.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    values: dict[str, Any] = {}
    origins: dict[str, Source] = {}
    local: Mapping[str, Any] = {}
    for source, found in _sources(given, files=files):
        if source.kind == "local file":
            local = found
        outdone = values.keys() | (_PLACES if _PLACES & values.keys() else set())
        left = {name: value for name, value in found.items() if name not in outdone}
        values |= _checked_places(left)
        origins |= dict.fromkeys(left, source)
    notices = [*_notices_of_files(origins), *_withhold_keys(values, origins, local)]
    made = _made(values, origins)
    made._origins, made._notices = origins, tuple(notices)
    return made


def _sources(
    flags: Mapping[str, Any], *, files: bool
) -> Iterator[tuple[Source, Mapping[str, Any]]]:
    """Yield all sources and what they set, the nearest first."""
    yield Source("flags"), flags
    try:
        yield Source("environment"), EnvSettingsSource(Settings)()
    except ValueError as error:  # a list that is no JSON
        raise SettingsError(
            f"a variable of the environment cannot be used: {error}",
            name="environment",
            hint='a list is written as JSON, such as ["https://example.org"]',
        ) from error
    if not files or os.environ.get(NO_FILES_VARIABLE):
        return
    own, local = (path.resolve() for path in settings_files())
    if local != own:
        yield Source("local file", local), read_file(local)
    yield Source("own file", own), read_file(own)


def _checked_places(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values, at most one of which says where the papers are.

    Raises:
        SettingsError: Two of them do.
    """
    given = sorted(_PLACES & values.keys())
    if len(given) > 1:
        reason = f"{' and '.join(given)} are given, and each says where the papers are"
        raise SettingsError(reason, name=given[0], hint="give one of them")
    return values


def _notices_of_files(origins: Mapping[str, Source]) -> Iterator[str]:
    """Yield what is to be said about a file of the working folder."""
    local = {name: each.path for name, each in origins.items() if each.kind == "local file"}
    for path in set(local.values()):
        yield f"settings of {path} are in use: {', '.join(sorted(local))}"


def _withhold_keys(
    values: dict[str, Any], origins: dict[str, Source], local: Mapping[str, Any]
) -> Iterator[str]:
    """Take out keys for servers that a file of the working folder names; yield what was done.

    Args:
        values: The settings; changed.
        origins: Where they come from; changed.
        local: All that the file of the working folder sets.
    """
    for address, key in _KEYS.items():
        source = origins.get(address)
        if source is None or source.kind != "local file" or origins.get(key) is source:
            continue
        named = str(values[address])
        if address == "model" and not is_served(named):
            continue
        if values.pop(key, None) is not None:
            yield (
                f"{named} does not get the {key} given elsewhere ({origins[key].describe(key)}), "
                f"since {source.path} names this server; to send it, give {address} there too"
            )
        # Empty, not absent: for a missing token Chroma would look into the environment itself.
        values[key], origins[key] = local.get(key, ""), source


def _made(values: Mapping[str, Any], origins: Mapping[str, Source]) -> Settings:
    """Return checked settings of these values.

    Raises:
        SettingsError: A name is unknown or a value out of range.
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        # Of a secret, pydantic counts "items".
        is_short = first["type"] == "too_short" and name == "api_key"
        reason = "it needs 16 characters or more" if is_short else first["msg"]
        hint = _nearest(name)
        source = origins.get(name)
        where = ""
        if source is not None and source.kind != "flags":
            where = f" ({source.describe_line(name)})"
            hint += f"; or pass the file over with {NO_FILES_OPTION}" if source.path else ""
        raise SettingsError(f"setting {name}{where}: {reason}", name=name, hint=hint) from error


def _nearest(name: str) -> str:
    if name in Settings.model_fields:
        return f"it is: {Settings.model_fields[name].description}"
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"did you mean {near[0]}?" if near else "known: " + ", ".join(Settings.model_fields)
