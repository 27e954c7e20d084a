"""Settings and health as HTML that is safe to show. Pure; see ``page``."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assistant.doctor import Finding


def shell() -> str:
    """What stands there before anything was looked at."""
    return (
        '<section class="sheet" aria-label="Settings and health"><h2>Health</h2>'
        '<div class="health"><p class="quiet">Looking …</p></div></section>'
    )


def health(findings: Sequence[Finding]) -> str:
    """What the doctor found."""
    return "".join(
        f'<dl class="finding {finding.level}"><dt>{html.escape(finding.topic)}</dt>'
        f"<dd>{html.escape(finding.message)}</dd></dl>"
        for finding in findings
    )
