"""Settings: one flat record, read from `assistant.toml`, the environment and flags, in that order.

Each field's default and help text live here and nowhere else; the environment name is
``ASSISTANT_`` and the field's name in capitals.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from assistant.errors import SettingsError
from vectorstore.collections import Collections, checked_name
from vectorstore.remote.address import Address

if TYPE_CHECKING:
    from vectorstore.places import Place

APP = "abstract-assistant"
DEFAULT_COLLECTION = "default"
DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct-q4_k_m"
EMBEDDING_MODEL = "all-minilm-l6-v2"


class Settings(BaseSettings):
    """Everything that can be chosen; frozen once made."""

    model_config = SettingsConfigDict(
        env_prefix="ASSISTANT_",
        frozen=True,
        extra="forbid",
        toml_file=None,
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
        120.0, gt=0, description="seconds of silence after which a model server counts as dead"
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
        description="disk space for KV states; least recently used go first; 0 keeps none",
    )
    gpu_layers: int | Literal["auto"] = Field(
        "auto", description="layers of the model to place on a GPU; auto = as many as there are"
    )
    threads: int | None = Field(
        None, ge=1, description="threads of the model; default: one for each core"
    )
    max_papers: int = Field(
        8, ge=1, le=14, description="papers that are retrieved, and that the model reads"
    )
    read_ahead: int = Field(
        100, ge=0, description="papers that the chat page reads while nobody asks"
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
    _flags: frozenset[str] = PrivateAttr(frozenset())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before the two places of `assistant.toml`."""
        files = (TomlConfigSettingsSource(settings_cls, each) for each in settings_files()[::-1])
        sources = (init_settings, env_settings, *files)
        return tuple(_OnePlace(settings_cls, each) for each in sources)

    @field_validator("collection")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return checked_name(name)

    @property
    def collections(self) -> Collections:
        """The collections, each by its name."""
        return Collections(self.collections_dir, {DEFAULT_COLLECTION: _default_index()})

    def changed(self, **flags: Any) -> Settings:
        """The same settings, but for some.

        Raises:
            SettingsError: A name is unknown or a value out of range.
        """
        named = (name for name in ("index", "store") if name in self.model_fields_set)
        place = next(named, "collection")
        left_out = _PLACES if _PLACES & flags.keys() else _PLACES - {place}
        made = load_settings(**(self.model_dump(exclude=set(left_out)) | flags))
        made._flags = self._flags
        return made

    @property
    def flags(self) -> frozenset[str]:
        """Names of the settings that were given when the program was started."""
        return self._flags

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
        token = self.store_token.get_secret_value() if self.store_token else None
        return ServerPlace(Address.parse(self.store), self.index, token)

    @property
    def layers(self) -> int:
        """``gpu_layers`` as llama.cpp wants it: -1 is all."""
        return -1 if self.gpu_layers == "auto" else self.gpu_layers


class _OnePlace(PydanticBaseSettingsSource):
    """A source whose place of the papers gives way to any place of an earlier source."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource):
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = self._source()
        if _PLACES & self.current_state.keys():
            return {name: value for name, value in values.items() if name not in _PLACES}
        given = [name for name in sorted(_PLACES) if name in values]
        if len(given) > 1:
            reason = f"{' and '.join(given)} are given, and each says where the papers are"
            raise SettingsError(reason, name=given[0], hint="give one of them")
        return values


_PLACES = frozenset({"index", "collection", "store"})


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


def load_settings(**flags: Any) -> Settings:
    """Settings with the given flags on top; a flag that is None counts as not given.

    Raises:
        SettingsError: A name is unknown or a value out of range.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        made = Settings(**given)
        made._flags = frozenset(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        # Of a secret, pydantic counts "items".
        is_short = first["type"] == "too_short" and name == "api_key"
        reason = "it needs 16 characters or more" if is_short else first["msg"]
        raise SettingsError(f"setting {name}: {reason}", name=name, hint=_nearest(name)) from error
    except ValueError as error:  # a toml file that does not parse
        raise SettingsError(str(error), name="assistant.toml", hint="mend the file") from error
    return made


def _nearest(name: str) -> str:
    if name in Settings.model_fields:
        return f"it is: {Settings.model_fields[name].description}"
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"did you mean {near[0]}?" if near else "known: " + ", ".join(Settings.model_fields)
