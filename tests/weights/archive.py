"""A small archive of parameters, and a local server that breaks off and sends wrong answers."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from foldry.model import config as configs
from foldry.model.config import ModelConfig
from foldry.weights.official import official_shapes

PRESET = configs.preset


def small(name: str) -> ModelConfig:
    """Return an official network with few blocks and narrow arrays."""
    config = PRESET(name)
    narrow = {"c_outer": 3, "c_triangle": 6, "num_heads_msa": 2, "num_heads_pair": 2}
    assert config.extra is not None
    return replace(
        config,
        evoformer=replace(config.evoformer, num_blocks=2, c_msa=8, **narrow),
        extra=replace(config.extra, num_blocks=1, c_msa=4, **narrow),
        template=config.template
        and replace(
            config.template,
            num_blocks=2,
            c_template=4,
            num_heads=2,
            c_attention=4,
            c_triangle=3,
            c_pointwise=8,
        ),
        structure=replace(config.structure, c=6, num_heads=2, c_sidechain=5),
        heads=replace(config.heads, c_plddt=7),
        c_pair=10,
        c_single=12,
    )


@pytest.fixture
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the official networks by small ones of the same names."""
    for module in ("convert", "download", "read"):
        monkeypatch.setattr(f"foldry.weights.{module}.preset", small)


def parameters(name: str) -> dict[str, np.ndarray]:
    """Return random official arrays of the small network."""
    draw = np.random.default_rng(sum(map(ord, name)))
    return {key: draw.normal(size=shape).astype(np.float32) for key, shape in _shapes(name).items()}


@cache
def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    return official_shapes(small(name))


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a parameter file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def tar(files: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """Return an archive of files and of hand-made members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def official_archive(*models: str) -> bytes:
    """Return an archive like AlphaFold's, of small networks."""
    files = {f"params_{name}.npz": npz(parameters(name)) for name in models}
    return tar({"LICENSE": b"Creative Commons Attribution 4.0\n", **files})


def md5(body: bytes) -> str:
    """Return the header that Google's servers send."""
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return f"crc32c=n03x6A==,md5={base64.b64encode(digest).decode()}"


@dataclass
class Site:
    """The content and the faults of a server.

    Attributes:
        break_after: Bytes after which the connection is cut, one number for each request in turn.
        ignore_range, ignore_if_range: Whether to send the whole file, or the rest of the current
            one.
        wrong_length: Added to the true Content-Length.
        wrong_range: A Content-Range to send instead of the true one.
        requests, agents: The Range and User-Agent headers of the requests so far.
    """

    body: bytes
    etag: str | None = '"one"'
    hash_header: str | None = None
    status: int | None = None
    content_type: str = "application/x-tar"
    break_after: list[int] = field(default_factory=list)
    ignore_range: bool = False
    ignore_if_range: bool = False
    wrong_length: int = 0
    wrong_range: str | None = None
    redirect: str | None = None
    requests: list[str | None] = field(default_factory=list)
    agents: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers["Range"]
        self.requests.append(wanted)
        self.agents.append(handler.headers["User-Agent"])
        start = 0
        same = self.ignore_if_range or handler.headers["If-Range"] == self.etag
        if wanted is not None and same and not self.ignore_range:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(self.status or (302 if self.redirect else 206 if start else 200))
        if self.redirect:
            handler.send_header("Location", self.redirect)
        if start:
            last = len(self.body) - 1
            true = f"bytes {start}-{last}/{len(self.body)}"
            handler.send_header("Content-Range", self.wrong_range or true)
        handler.send_header("Content-Length", str(len(self.body) - start + self.wrong_length))
        handler.send_header("Content-Type", self.content_type)
        if self.etag is not None:
            handler.send_header("ETag", self.etag)
        if self.hash_header is not None:
            handler.send_header("x-goog-hash", self.hash_header)
        handler.end_headers()
        size = self.break_after.pop(0) if self.break_after else len(self.body)
        handler.wfile.write(self.body[start : start + size])


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve the site on a port of this machine within the `with` block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_address[1]}/alphafold_params.tar"
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
