"""The HTML templates in ``html/``. All that is put into one is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str) -> Template:
    """A template; a name in it that was not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("assistant", "html"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(name)
