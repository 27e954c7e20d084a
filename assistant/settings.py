"""Settings: one flat record, read from `assistant.toml`, the environment and flags, in that order.

Each field's default and help text live here and nowhere else; the environment name is
``ASSISTANT_`` and the field's name in capitals.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from assistant.errors import SettingsError
from vectorstore.address import Address

if TYPE_CHECKING:
    from vectorstore.places import Place

APP = "abstract-assistant"
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
        DEFAULT_MODEL, description="catalogue name, path of a GGUF file, or hf:owner/repo/file.gguf"
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
        description="folder of the index",
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
    offline: bool = Field(False, description="never fetch a missing model")

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
        files = TomlConfigSettingsSource(settings_cls, toml_file=settings_files())
        return init_settings, env_settings, files

    @field_validator("store")
    @classmethod
    def _check_store(cls, text: str | None) -> str | None:
        return str(Address.parse(text)) if text else None

    @model_validator(mode="after")
    def _check_one_place(self) -> Self:
        if self.store and self.index != _copy(self.store, self.replicas_dir):
            reason = "store and index are given, and each says where the papers are"
            raise SettingsError(reason, name="store", hint="give one of the two")
        return self

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


def _home(chosen: Mapping[str, Any]) -> Path:
    if chosen.get("store"):
        return _copy(chosen["store"], chosen["replicas_dir"])
    return user_data_path(APP) / "index"


def _copy(store: str, replicas_dir: Path) -> Path:
    return replicas_dir / Address.parse(store).folder_name


def settings_files() -> list[Path]:
    """The files that are read, the later one winning."""
    return [user_config_path(APP) / "assistant.toml", Path("assistant.toml")]


def load_settings(**flags: Any) -> Settings:
    """Settings with the given flags on top; a flag that is None counts as not given.

    Raises:
        SettingsError: A name is unknown or a value out of range.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise SettingsError(
            f"setting {name}: {first['msg']}", name=name, hint=_nearest(name)
        ) from error
    except ValueError as error:  # a toml file that does not parse
        raise SettingsError(str(error), name="assistant.toml", hint="mend the file") from error


def _nearest(name: str) -> str:
    if name in Settings.model_fields:
        return f"it is: {Settings.model_fields[name].description}"
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"did you mean {near[0]}?" if near else "known: " + ", ".join(Settings.model_fields)
