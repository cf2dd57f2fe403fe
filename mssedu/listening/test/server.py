"""A listening test on a page of its own, for listeners who never see code.

    GET  /?token=…         the page; a cookie takes the place of the token
    POST begin             a code, or none: a new listener  ─▶ what is shown
    POST tell              what the listener says           ─▶ what was said, or a page
    GET  sounds/CODE/PAGE  16-bit samples of all sounds of the page

Tornado, Jupyter's own web server, carries it; but there is no kernel behind this
address and no folder, so whoever has the link can take the test and nothing else. One
process serves all listeners, each with a `Session`, and every answer is in the results
before the page hears that it was taken. Notebook: 13.
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

from mssedu.errors import InputError, MssEduError, message
from mssedu.listening.test.dialog import said, take, view
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore
from mssedu.listening.test.web_page import remote_page
from mssedu.listening.widgets.sounds import encode, shape_of

# No page of another origin gets in, and this one loads nothing from elsewhere.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass
class Seat:
    """A listener's place: the session, and the sounds of the page it is at."""

    session: Session
    place: int = -1
    sounds: bytes = b""
    shape: dict[str, int] = field(default_factory=dict)

    def at(self, place: int) -> bool:
        """Whether the listener is still at a page."""
        return place == self.session.progress[0] and not self.session.refused

    def load(self) -> None:
        """Read the sounds of this page, if they are not here yet."""
        place = self.session.progress[0]
        if place != self.place and self.session.sounds:
            sounds, sample_rate = self.session.load_sounds()
            self.sounds = b"".join(encode(sound)[0] for sound in sounds.values())
            self.shape = shape_of(next(iter(sounds.values())), sample_rate)
            self.place = place


class Server:
    """The web server of one test; a context manager, which closes it.

    Attributes:
        address: the link for listeners, token included.
    """

    def __init__(
        self, store: ResultStore, host: str, port: int, token: str | None = None
    ) -> None:
        """Listen at a port.

        Args:
            store: where answers go.
            host: address of this machine at which it listens.
            port: 0: any that is free.
            token: what the link must hold; None: a random one.

        Raises:
            InputError: the port is taken, or the address is not one of this machine.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            door = socket.create_server((host, port), family=family)
        except OSError as error:
            remedy = "Choose another: --port 0."
            wanted = f"a free port at {host}"
            raise InputError(message("listen serve", wanted, error, remedy)) from error
        door.setblocking(False)
        port = door.getsockname()[1]
        token = token or secrets.token_urlsafe(16)
        # Cookies do not tell ports apart, and there may be a test at each.
        cookie = f"mssedu-listen-{port}"
        given = {"store": store, "seats": {}, "token": token, "cookie": cookie}
        paths = {"/": _Home, "/begin": _Begin, "/tell": _Tell}
        routes: list[Any] = [(path, handler, given) for path, handler in paths.items()]
        routes.append((r"/sounds/([0-9a-f]+)/(\d+)", _Sounds, given))
        self._http = HTTPServer(Application(routes))
        self._http.add_socket(door)
        everywhere = host in ("0.0.0.0", "::")
        shown = socket.gethostname() if everywhere else host
        shown = f"[{shown}]" if ":" in shown else shown
        self.address = f"http://{shown}:{port}/?token={token}"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.stop()


class _Handler(RequestHandler):
    """What all requests share: who may ask, what a fault looks like."""

    def initialize(
        self, store: ResultStore, seats: dict[str, Seat], token: str, cookie: str
    ) -> None:
        self.store, self.seats, self.token, self.cookie = store, seats, token, cookie

    def set_default_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        given = self.get_query_argument("token", None) or self.get_cookie(
            self.cookie, ""
        )
        if not hmac.compare_digest((given or "").encode(), self.token.encode()):
            raise HTTPError(403, reason="Open the link that you were given")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.finish({"error": self._reason})

    def body(self, *names: str) -> list[Any]:
        """Values of a JSON object; a form of another page cannot send one."""
        try:
            document = json.loads(self.request.body)
            return [document[name] for name in names]
        except (ValueError, TypeError, KeyError) as error:
            raise HTTPError(400, reason="Expected a JSON object") from error

    def seat(self, listener: str | None) -> Seat:
        """Where a listener sits; a new one is given a code."""
        try:
            if listener not in self.seats:
                session = Session(self.store, listener)
                listener = session.listener
                self.seats[listener] = Seat(session)
        except MssEduError as error:
            raise HTTPError(404, reason="Nobody has this code") from error
        return self.seats[listener]

    async def show(self, seat: Seat) -> dict[str, Any]:
        """The page of a listener, with its sounds made ready."""
        await asyncio.to_thread(seat.load)  # others go on in the meantime
        return view(seat.session)


class _Home(_Handler):
    def get(self) -> None:
        if self.get_query_argument("token", None):
            # The address that stays in the browser's history does not hold the token.
            self.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
            self.redirect("/")
            return
        self.finish(remote_page(self.store.design.title))

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
        wrong = take(seat.session, words) if seat.at(place) else ""
        if seat.at(place):
            self.finish({"state": said(seat.session, wrong)})
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
