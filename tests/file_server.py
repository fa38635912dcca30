"""A web server with files, for the tests of fetching; it can misbehave in all the known ways."""

import contextlib
import http.server
import io
import threading
import time
import zipfile
from dataclasses import dataclass, field


@dataclass
class Served:
    """A file, and how it is served. Lists are used up request by request, the last one for good."""

    content: bytes | list
    etag: str | list | None = '"one"'
    ranges: bool = True  # whether Range is understood
    cut: list = field(default_factory=lambda: [None])  # bytes after which the line goes dead
    declare: int | None = 0  # added to Content-Length; None: no Content-Length
    status: list = field(default_factory=lambda: [200])
    redirect: str | None = None
    pause: float = 0.0  # seconds between blocks
    block: int = 1 << 14


class Server:
    """files: path -> Served or bytes. asked: list of (path, Range header or None)."""

    def __init__(self):
        self.files, self.asked = {}, []

    def __setitem__(self, path, served):
        self.files[path] = served if isinstance(served, Served) else Served(served)

    def ranges(self, path):
        return [span for where, span in self.asked if where == path]


def _next(value):
    return value if not isinstance(value, list) else value.pop(0) if len(value) > 1 else value[0]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, span = self.path.partition("?")[0], self.headers.get("Range")
        self.server.site.asked.append((path, span))
        served = self.server.site.files.get(path)
        if served is None:
            return self.send_error(404)
        if (status := _next(served.status)) != 200:  # a number, or a number and words
            return self.send_error(*(status if isinstance(status, tuple) else (status,)))
        if served.redirect:
            self.send_response(302)
            self.send_header("Location", served.redirect)
            return self.end_headers()
        content, etag, cut = _next(served.content), _next(served.etag), _next(served.cut)
        condition = self.headers.get("If-Range")
        start = int(span[len("bytes=") : -1]) if span else 0
        partial = span and served.ranges and condition in (None, etag)
        start = start if partial else 0
        if partial and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if etag:
            self.send_header("ETag", etag)
        if served.declare is not None:
            self.send_header("Content-Length", str(len(content) - start + served.declare))
        self.end_headers()
        body = content[start:] if cut is None else content[start : start + cut]
        with contextlib.suppress(OSError):  # the client may have been killed
            for at in range(0, len(body), served.block):
                self.wfile.write(body[at : at + served.block])
                time.sleep(served.pause)
        return None

    def log_message(self, *words):
        """Say nothing."""


@contextlib.contextmanager
def serving():
    """A running `Server` with its address in `.url`."""
    site = Server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.site, server.daemon_threads = site, True
        site.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield site
        finally:
            server.shutdown()


def zipped(files):
    """A ZIP archive in memory, from name -> content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, inside in files.items():
            archive.writestr(name, inside)
    return content.getvalue()
