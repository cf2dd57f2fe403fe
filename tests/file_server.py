"""A web server on this machine: it gives one file, and does wrong what a test wants."""

import contextlib
import http.server
import threading

CONTENT = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content`; what it is to do wrong stands in the path."""

    def do_GET(self):
        if "to=" in self.path:
            self.send_response(302)
            self.send_header("Location", self.path.partition("to=")[2])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if "absent" in self.path:
            return self.send_error(404)
        content = self.server.content
        asked = self.headers.get("Range")
        self.server.seen.append(asked)
        version = self.headers.get("If-Range", self.server.version)
        if "norange" in self.path or version != self.server.version:
            asked = None
        start = int(asked.removeprefix("bytes=")[:-1]) if asked else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if asked else 200)
        for name, value in self.headers_for(start, len(content)).items():
            self.send_header(name, value)
        self.end_headers()
        end = start + 1000 if "short" in self.path else None
        with contextlib.suppress(OSError):  # a client that wants no more
            self.wfile.write(content[start:end])
        return None

    def headers_for(self, start, length):
        headers = {"Content-Length": str(length - start)}
        if "nolength" in self.path:
            headers = {}
        if "badlength" in self.path:
            headers = {"Content-Length": "abc"}
        if self.server.version:
            headers["ETag"] = self.server.version
        if "html" in self.path:
            headers["Content-Type"] = "text/html; charset=utf-8"
        if "elsewhere" in self.path:
            headers["Content-Range"] = f"bytes {start + 5}-{length - 1}/{length}"
        return headers

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(content=CONTENT):
    """A server with `address`, `content`, `version` (its ETag) and ranges `seen`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.version, server.seen = content, None, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
