"""What the report and a screen's page have in common: one file, page.html, that makes no request.

Its content security policy forbids every request, and every script but those whose hashes it names.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Final

from foldry.store.hashes import sha256

_HERE: Final = files("foldry") / "results"
_POLICY: Final = {
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def page_html(
    title: str,
    body: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    policy: Mapping[str, str],
) -> str:
    """A whole page.

    Args:
        title: Of the window, as text.
        body: HTML.
        styles, scripts: Files of this room; the scripts run one after the other, as one.
        policy: Directives of the content security policy beside or instead of every page's;
            `script-src` without these scripts.
    """
    script = "".join(map(resource, scripts))
    sources = f"{script_source(script.encode())} {policy.get('script-src', '')}".strip()
    directives = {**_POLICY, **policy, "script-src": sources}
    return Template(resource("page.html")).substitute(
        title=html.escape(f"{title} · Foldry"),
        policy="; ".join(f"{name} {allowed}" for name, allowed in directives.items()),
        style="".join(map(resource, styles)),
        body=body,
        script=script,
    )


def resource(name: str) -> str:
    """The text of a file of this room."""
    return (_HERE / name).read_text("utf-8")


def script_source(script: bytes) -> str:
    """What a policy calls this script: its hash."""
    return f"'sha256-{base64.b64encode(bytes.fromhex(sha256(script))).decode()}'"
