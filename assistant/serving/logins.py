"""Who may open the page: users with passwords, asked for by the browser itself.

HTTP's basic authentication (RFC 7617). Knows headers, and nothing of what they open; ``gate`` asks.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assistant.errors import ServerError
from assistant.ui.visitors import credentials

_FORM_HINT = "give USER:PASSWORD, or a file with one such line for each user"


@dataclass(frozen=True, slots=True)
class Logins:
    """Users and their passwords."""

    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    def admit(self, header: str) -> bool:
        """Whether an ``Authorization`` header names a user and the right password."""
        user, password = credentials(header)
        known = self.passwords.get(user, "")
        # Compared even for an unknown user: the time must not tell who there is.
        right = hmac.compare_digest(known.encode(), password.encode())
        return right and user in self.passwords


def read_logins(given: Iterable[str]) -> Logins:
    """Read users from ``user:password`` or from files with one such line each.

    Raises:
        ServerError: One of them is neither, or has no user or no password.
    """
    passwords: dict[str, str] = {}
    for each in given:
        path = Path(each)
        is_file = path.is_file()
        lines = path.read_text(encoding="utf-8").splitlines() if is_file else [each]
        for line in lines:
            if is_file and (not line.strip() or line.startswith("#")):
                continue
            user, colon, password = line.partition(":")
            if not (colon and user.strip() and password):
                where = each if is_file else "--auth"
                raise ServerError(f"{where}: no user and password", hint=_FORM_HINT)
            passwords[user.strip()] = password
        if is_file and not passwords:
            raise ServerError(f"{each}: holds no user", hint=_FORM_HINT)
    return Logins(passwords)
