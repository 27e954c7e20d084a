"""What can go wrong between a question and its answer, for the user to read.

AssistantError
├─ SettingsError        (name)        a setting that is unknown or out of range
├─ PromptError          (path)        a prompt file that lacks a part
├─ QuestionError                      a question that cannot be asked (empty, too long)
├─ QuestionFileError    (path, line)  a question file that cannot be read
├─ AnswersFileError     (path)        a file of answers that must not or cannot be written
├─ ConversationsError   (path)        kept conversations that cannot be read or written
├─ ServerError                        a page that must not be served like this
├─ UnavailableError                   a question that cannot be served now
├─ WorkersError                       workers that cannot be started, reached or used
└─ ModelError           (model)       a model that cannot be loaded or run
   ├─ ModelServerError                a server of models that cannot be used
   ├─ ModelMissingError               not there
   └─ ModelDamagedError               there, but not the bytes that were promised

Every error carries a ``hint``: the next command to type. An abstention is no error:
it is an ``Answer``.
"""

from __future__ import annotations

from vectorstore.errors import StoreError


class AssistantError(Exception):
    """Base of all errors of this package; its message is meant for the user."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class SettingsError(AssistantError):
    """A setting is unknown or out of range."""

    def __init__(self, message: str, *, name: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.name = name


class PromptError(AssistantError):
    """A prompt file is missing or lacks a part."""

    def __init__(self, message: str, *, path: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class QuestionError(AssistantError):
    """A question that cannot be asked."""


class QuestionFileError(AssistantError):
    """A question file that cannot be read."""

    def __init__(self, message: str, *, path: str, line: int | None, hint: str) -> None:
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {message}", hint=hint)
        self.path, self.line = path, line


class AnswersFileError(AssistantError):
    """A file of answers that must not be overwritten, or cannot be written."""

    def __init__(self, message: str, *, path: str, hint: str) -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path


class ConversationsError(AssistantError):
    """The file of conversations cannot be read or written."""

    def __init__(self, message: str, *, path: str, hint: str) -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path


class ServerError(AssistantError):
    """The page cannot or must not be served as it was asked for."""


class UnavailableError(AssistantError):
    """A question that cannot be served now: too many wait, or the assistant is closing."""


class WorkersError(AssistantError):
    """Workers in other processes cannot be started or reached, or cannot work."""


class ModelError(AssistantError):
    """A model cannot be loaded or run."""

    def __init__(self, message: str, *, model: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.model = model


class ModelServerError(ModelError):
    """A server of models cannot be reached, or does not do what is needed."""


class ModelMissingError(ModelError):
    """The model file is not there."""


class ModelDamagedError(ModelError):
    """The model file is not the bytes that its catalogue entry promises."""


USER_ERRORS = (AssistantError, StoreError)
"""What an edge (terminal, page, batch) shows as message and hint, without a traceback."""
