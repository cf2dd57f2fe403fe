"""A listening test on a web page of its own, for listeners who never see code.

    GET  /?token=…         the page; afterwards a cookie replaces the token
    POST begin             a code, or null for a new listener  ─▶ a page
    POST tell              one message of the listener         ─▶ the answers, or a page
    GET  sounds/CODE/PAGE  FLAC files of all sounds of the page, one after the other

The web server is Tornado, which Jupyter uses too; but no kernel and no folder can be
reached, so a person with the link can take the test and do nothing else. One process
serves all listeners, and keeps nothing of them: every answer is in the results before
the page gets its reply. Sounds are encoded once, into a temporary file. `messages`
checks what comes in. Notebook: 13.
"""

import asyncio
import ctypes
import hmac
import json
import logging
import os
import re
import secrets
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from mssedu.audio.files import written_whole
from mssedu.errors import InputError, MssEduError
from mssedu.listening.test.messages import (
    Check,
    check_fields,
    check_message,
    check_whole,
    read_document,
)
from mssedu.listening.test.pages import page_state, perform, remote_page, view
from mssedu.listening.test.session import Session, checked_text
from mssedu.listening.test.stimuli import SoundFiles, encode_stimuli, load_stimuli
from mssedu.listening.test.store import ResultStore

# No other site can embed the page, and the page loads nothing from other sites.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_SOUNDS = r"/sounds/([0-9a-f]{1,64})/(\d{1,9})"  # code of the listener, page
_TOKEN_FILE = (
    ".mssedu-token"  # in the folder of the results; only its owner can read it
)
_TOKEN = re.compile(r"[\w.~-]+", re.ASCII)  # what a link and a cookie can contain
LARGEST_BODY = 64 * 1024  # bytes of a request; messages have less than 10 000
_LARGEST_HEADERS = 16 * 1024
_IDLE_SECONDS, _BODY_SECONDS = 30.0, 10.0  # after which a connection is closed
_BLOCK = 64 * 1024  # bytes of sounds that wait in memory for a slow listener
_HELP = "Keep this page open, and tell the person who gave you the link."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Where the sounds of a trial are in the temporary file of a server."""

    places: dict[str, tuple[int, int]]  # stimulus -> first byte and number of bytes
    shape: dict[str, int]  # of each sound: sample_rate, channels, samples


class Server:
    """The web server of one test; a context manager, which closes it.

    Attributes:
        address: the link for listeners, with the token.
    """

    def __init__(
        self, store: ResultStore, host: str, port: int, token: str | None = None
    ) -> None:
        """Open a port and wait for requests.

        Args:
            store: saves the answers.
            host: address of this machine that the server listens at.
            port: of the server; 0: any free port.
            token: secret in the link, which requests must contain; None: that of the
                last server of these results, from a file beside them.

        Raises:
            InputError: the port is in use, the address is not one of this machine, or
                the token has letters that a link cannot contain.
        """
        if token is not None and not _TOKEN.fullmatch(token):
            raise InputError(
                f"the token {token!r} does not fit into a link. Use letters, digits, "
                "'-' and '_' only."
            )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            text = f"port {port} at {host} cannot be opened: {error}. Try --port 0."
            raise InputError(text) from error
        listener.setblocking(False)
        port = listener.getsockname()[1]
        self.store, self.token = store, token or kept_token(store.path)
        # All ports of a host share their cookies, and each may serve another test.
        self.cookie = f"mssedu-listen-{port}"
        paths = {"/": _Home, "/begin": _Begin, "/tell": _Tell, _SOUNDS: _Sounds}
        shared = {"test": self}
        routes: list[Any] = [(path, kind, shared) for path, kind in paths.items()]
        self._http = HTTPServer(
            Application(routes, log_function=lambda handler: None),
            max_body_size=LARGEST_BODY,
            max_header_size=_LARGEST_HEADERS,
            idle_connection_timeout=_IDLE_SECONDS,
            body_timeout=_BODY_SECONDS,
        )
        self._http.add_socket(listener)
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        name = f"[{name}]" if ":" in name else name
        self.address = f"http://{name}:{port}/?token={self.token}"
        self._encoded: dict[str, Encoded] = {}  # of each trial that was asked for
        self._encoding = asyncio.Lock()
        # Without a name, so nothing is left of it even if the process is killed
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._unsaved = False  # whether answers could not be saved last time
        self._unread: set[str] = set()  # what was wrong with sounds

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.stop()
        self._file.close()

    async def sounds(self, trial: str) -> Encoded:
        """The encoded sounds of a trial, which all listeners share."""
        async with self._encoding:  # one trial at a time, so that the memory is bounded
            if trial not in self._encoded:
                # In a thread, so that other listeners do not wait for it
                sounds = await asyncio.to_thread(self._encode, trial)
                places, end = {}, self._file.seek(0, os.SEEK_END)
                for name, content in sounds.files.items():
                    places[name] = (end, len(content))
                    end += self._file.write(content)
                self._encoded[trial] = Encoded(places, sounds.shape)
            return self._encoded[trial]

    def block(self, start: int, size: int) -> bytes:
        """Some bytes of the encoded sounds."""
        self._file.seek(start)
        return self._file.read(size)

    def _encode(self, trial: str) -> SoundFiles:
        stimuli = load_stimuli(self.store.design, trial)
        self.store.log_gains(trial, stimuli.log())
        sounds = encode_stimuli(stimuli)
        del stimuli
        if sys.platform == "linux":  # its C library keeps the memory of these tensors
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
        return sounds

    def not_saved(self, error: sqlite3.Error) -> None:
        """Log one line for the host, not one for each answer."""
        if not self._unsaved:
            self._unsaved = True
            _log.error(
                f"Answers cannot be saved in {self.store.path}: {error}. Make room on "
                "the disk: listeners' pages wait, and send their answers again."
            )

    def saved(self) -> None:
        """Log a line if answers could not be saved before."""
        if self._unsaved:
            self._unsaved = False
            _log.warning("Answers are saved again.")

    def not_read(self, error: Exception) -> None:
        """Log one line for each thing that is wrong with the sounds."""
        if str(error) not in self._unread:
            self._unread.add(str(error))
            _log.error(f"The sounds of a page cannot be read: {error}")


def kept_token(results: Path) -> str:
    """The token of earlier servers of a results file, or a new one that is kept.

    A page that is open while the server restarts needs the same token afterwards. The
    file is beside the results and not part of them: who has it can take the test.
    """
    if str(results) == ":memory:":
        return secrets.token_urlsafe(16)
    path = results.parent / _TOKEN_FILE
    with suppress(FileNotFoundError):
        token = path.read_text("utf-8", errors="replace").strip()
        if _TOKEN.fullmatch(token):
            return token
    token = secrets.token_urlsafe(16)
    with written_whole(path) as temporary:
        temporary.touch()
        temporary.chmod(0o600)  # before it contains anything
        temporary.write_text(token, "utf-8")
    return token


class _Handler(RequestHandler):
    """What all requests share: the check of the token, and the form of an error."""

    def initialize(self, test: Server) -> None:
        self.test = test

    def set_default_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        cookie = self.get_cookie(self.test.cookie)
        token = self.get_query_argument("token", None) or cookie or ""
        if not hmac.compare_digest(token.encode(), self.test.token.encode()):
            raise HTTPError(403, reason="Open the link that you were given")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.finish({"error": f"{self._reason}."})

    def refuse(self, status: int, text: str) -> None:
        """End the request with a sentence for the listener."""
        self.set_status(status)
        self.finish({"error": text})

    def refuse_to_save(self, error: sqlite3.Error) -> None:
        """End a request that could not be saved, such as on a full disk."""
        self.test.not_saved(error)
        self.refuse(503, f"Your answers cannot be saved now. {_HELP}")

    def session(self, listener: str | None) -> Session:
        """The test as a listener takes it; None adds a new listener."""
        try:
            return Session(self.test.store, listener)
        except InputError as error:
            raise HTTPError(404, reason="Nobody has this code") from error


class _Home(_Handler):
    def get(self) -> None:
        if self.get_query_argument("token", None):
            # After this the address, and the browser's history, contain no token.
            name, token = self.test.cookie, self.test.token
            self.set_cookie(name, token, httponly=True, samesite="Strict")
            self.redirect("/")
            return
        self.finish(remote_page(self.test.store.design.title))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.finish(f"{self._reason}.")


class _Post(_Handler):
    """A request with a JSON object from the page of this server."""

    def prepare(self) -> None:
        super().prepare()
        if self.request.method != "POST":  # which is an error anyway
            return
        # Pages of other sites can send forms and texts without asking, but no JSON.
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind.lower() != "application/json":
            raise HTTPError(415, reason="Send application/json")
        origin = self.request.headers.get("Origin")
        host = self.request.host
        if origin is not None and origin.partition("://")[2] != host:
            raise HTTPError(403, reason="Send this from the page of the test")

    def respond(
        self,
        reply: Callable[[dict[str, Any]], dict[str, Any]],
        fields: Mapping[str, Check],
        optional: tuple[str, ...] = (),
    ) -> None:
        """Send what `reply` gives for the values of the request, or why it cannot."""
        try:
            document = read_document(self.request.body)
            answer = reply(check_fields("a request", document, fields, optional))
        except InputError as error:
            self.refuse(400, str(error))
        except sqlite3.Error as error:
            self.refuse_to_save(error)
        else:
            self.finish(answer)


def _code(name: str, value: object) -> None:
    """Raise InputError unless a value is a text, or null for a new listener."""
    if value is not None:
        checked_text(name, value)


class _Begin(_Post):
    def post(self) -> None:
        self.respond(self.begin, {"listener": _code})

    def begin(self, values: dict[str, Any]) -> dict[str, Any]:
        return view(self.session(values["listener"]))


class _Tell(_Post):
    def post(self) -> None:
        fields: dict[str, Check] = {
            "listener": checked_text,
            "place": check_whole,
            "words": lambda name, value: check_message(value),
            "visit": checked_text,
            "number": check_whole,
        }
        self.respond(self.tell, fields, ("visit", "number"))

    def tell(self, values: dict[str, Any]) -> dict[str, Any]:
        listener, place = values["listener"], values["place"]
        visit, number = values.get("visit"), values.get("number")
        session, wrong = self.session(listener), ""
        with self.test.store.message(listener, visit, number) as new:
            # A message that comes late belongs to a page that is over.
            now = new and place == session.progress[0] and not session.refused
            if now:
                wrong = perform(session, values["words"])
        if now and not wrong:
            self.test.saved()
        if place == session.progress[0] and not session.refused:
            return {"state": page_state(session, wrong)}
        return {"view": view(session)}


class _Sounds(_Handler):
    async def get(self, listener: str, place: str) -> None:
        try:
            session = self.session(listener)
            page, names = session.page, session.sounds.values()
            if page is None or not names or int(place) != session.progress[0]:
                raise HTTPError(404, reason="This page is over")
            found = await self.test.sounds(page.trial)
        except sqlite3.Error as error:
            return self.refuse_to_save(error)
        except (MssEduError, OSError) as error:
            self.test.not_read(error)
            return self.refuse(503, f"The sounds cannot be read now. {_HELP}")
        places = [found.places[name] for name in names]
        sizes = [size for _, size in places]
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", sum(sizes))
        self.set_header("X-Shape", json.dumps(found.shape))
        self.set_header("X-Sizes", json.dumps(sizes))
        with suppress(StreamClosedError):  # the listener has left
            for first, size in places:
                for done in range(0, size, _BLOCK):
                    self.write(self.test.block(first + done, min(_BLOCK, size - done)))
                    await self.flush()
        return None
