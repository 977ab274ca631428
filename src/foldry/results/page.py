"""The frame of the report and of a screen's page: one file, page.html, that makes no request.

Its content security policy forbids every request, and every script whose hash it does not list.
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
    """Return the HTML of a whole page.

    Args:
        title: Title of the window, as text.
        body: Content, as HTML.
        styles, scripts: Names of files in this room; the scripts are joined into one.
        policy: Directives that extend or replace those of the default content security policy;
            `script-src` need not list these scripts.
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
    """Return the text of a file in this room."""
    return (_HERE / name).read_text("utf-8")


def script_source(script: bytes) -> str:
    """Return the source expression of a script in a policy: its hash."""
    return f"'sha256-{base64.b64encode(bytes.fromhex(sha256(script))).decode()}'"
