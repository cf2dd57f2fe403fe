"""A server of a listening test in a thread, and requests to it."""

import asyncio
import contextlib
import http.client
import json
import threading

from mssedu.listening.test.server import Server

JSON = "application/json"


class Asking:
    """Send requests to a server; call it for an answer, or for its status."""

    def __init__(self, address):
        self.host, _, self.token = address.removeprefix("http://").partition("/?token=")
        self.cookie = f"mssedu-listen-{self.host.rpartition(':')[2]}"
        self.headers = {}

    def request(self, path, body=None, *, method=None, token=None, **headers):
        """Status, headers and bytes of an answer; names of headers with "_"."""
        cookie = f"{self.cookie}={self.token if token is None else token}"
        sent = {"Cookie": cookie, **({"Content-Type": JSON} if body else {})}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        link = http.client.HTTPConnection(self.host, timeout=20)
        try:
            method = method or ("GET" if body is None else "POST")
            link.request(method, path, body, sent)
            answer = link.getresponse()
            self.headers = answer.headers
            return answer.status, answer.read()
        finally:
            link.close()

    def __call__(self, path, content=None, **settings):
        body = None if content is None else json.dumps(content)
        status, text = self.request(path, body, **settings)
        if status != 200:
            return status
        return json.loads(text) if "json" in self.headers["Content-Type"] else text

    def begin(self, listener=None):
        return self("/begin", {"listener": listener})

    def tell(self, shown, visit=None, number=None, **words):
        content = {"listener": shown["listener"], "place": shown["place"]}
        content |= {"words": words, "visit": visit, "number": number}
        return self("/tell", content)


@contextlib.contextmanager
def serving(store, token=None, port=0):
    """A server of the store until the end; gives the way to ask it."""
    loop, made = asyncio.new_event_loop(), []
    ready = threading.Event()

    def run():
        asyncio.set_event_loop(loop)
        made.append(Server(store, "127.0.0.1", port, token))
        loop.call_soon(ready.set)
        loop.run_forever()

    async def end():
        made[0].__exit__()
        await made[0]._http.close_all_connections()
        loop.stop()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(20)
    try:
        yield Asking(made[0].address)
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop)
        thread.join()
        loop.close()
