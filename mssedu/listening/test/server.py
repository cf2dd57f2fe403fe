"""A listening test on a web page of its own, for listeners who never see code.

    GET  /?token=…         the page; afterwards a cookie replaces the token
    POST begin             a code, or null for a new listener  ─▶ a page
    POST tell              one message of the listener         ─▶ the answers, or a page
    GET  sounds/CODE/PAGE  16-bit samples of all sounds of the page

The web server is Tornado, which Jupyter uses too; but no kernel and no folder can be
reached, so a person with the link can take the test and do nothing else. One process
serves all listeners, each with a `Session`, and every answer is in the results before
the page gets its reply. Notebook: 13.
"""

import asyncio
import hmac
import json
import secrets
import socket
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

from mssedu.errors import InputError, MssEduError
from mssedu.listening.test.pages import page_state, perform, remote_page, view
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.sounds import encode, shape_of

# No other site can embed the page, and the page loads nothing from other sites.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_SOUNDS = r"/sounds/([0-9a-f]+)/(\d+)"  # code of the listener, number of the page


@dataclass
class Seat:
    """A listener on the server: the session, and the sounds of its current page."""

    session: Session
    place: int = -1  # number of the page that the sounds belong to
    sounds: bytes = b""
    shape: dict[str, int] = field(default_factory=dict)

    def load(self) -> None:
        """Read the sounds of the current page, if they are not loaded yet."""
        place = self.session.progress[0]
        if place != self.place and self.session.sounds:
            sounds, sample_rate = self.session.load_sounds()
            self.sounds = b"".join(encode(sound)[0] for sound in sounds.values())
            self.shape = shape_of(next(iter(sounds.values())), sample_rate)
            self.place = place


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
            token: secret in the link, which requests must contain; None: a random one.

        Raises:
            InputError: the port is in use, or the address is not one of this machine.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            text = f"port {port} at {host} cannot be opened: {error}. Try --port 0."
            raise InputError(text) from error
        listener.setblocking(False)
        port = listener.getsockname()[1]
        self.store, self.token = store, token or secrets.token_urlsafe(16)
        self.seats: dict[str, Seat] = {}  # id of a listener -> the seat
        # All ports of a host share their cookies, and each may serve another test.
        self.cookie = f"mssedu-listen-{port}"
        paths = {"/": _Home, "/begin": _Begin, "/tell": _Tell, _SOUNDS: _Sounds}
        shared = {"test": self}
        routes: list[Any] = [(path, kind, shared) for path, kind in paths.items()]
        self._http = HTTPServer(Application(routes))
        self._http.add_socket(listener)
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        name = f"[{name}]" if ":" in name else name
        self.address = f"http://{name}:{port}/?token={self.token}"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.stop()


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
        self.finish({"error": self._reason})

    def body(self, *names: str) -> list[Any]:
        """Values of the JSON object in the request; HTML forms cannot send JSON."""
        try:
            document = json.loads(self.request.body)
            return [document[name] for name in names]
        except (ValueError, TypeError, KeyError) as error:
            raise HTTPError(400, reason="Expected a JSON object") from error

    def seat(self, listener: str | None) -> Seat:
        """The seat of a listener; None adds a new listener."""
        seats = self.test.seats
        try:
            if listener is None or listener not in seats:
                session = Session(self.test.store, listener)
                listener = session.listener
                seats[listener] = Seat(session)
        except MssEduError as error:
            raise HTTPError(404, reason="Nobody has this code") from error
        return seats[listener]

    async def show(self, seat: Seat) -> dict[str, Any]:
        """The page of a listener, after its sounds are loaded."""
        await asyncio.to_thread(seat.load)  # other listeners do not wait for it
        return view(seat.session)


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


class _Begin(_Handler):
    async def post(self) -> None:
        (listener,) = self.body("listener")
        self.finish(await self.show(self.seat(listener)))


class _Tell(_Handler):
    async def post(self) -> None:
        listener, place, words = self.body("listener", "place", "words")
        seat = self.seat(listener)
        session, wrong = seat.session, ""
        # A message that comes late or twice belongs to a page that is over.
        if place == session.progress[0] and not session.refused:
            wrong = perform(session, words)
        if place == session.progress[0] and not session.refused:
            self.finish({"state": page_state(session, wrong)})
        else:
            self.finish({"view": await self.show(seat)})


class _Sounds(_Handler):
    async def get(self, listener: str, place: str) -> None:
        seat = self.seat(listener)
        await asyncio.to_thread(seat.load)
        if int(place) != seat.place:
            raise HTTPError(404, reason="This page is over")
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("X-Shape", json.dumps(seat.shape))
        self.finish(seat.sounds)
