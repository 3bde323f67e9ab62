"""Named WebSocket servers and a client that asks who answers, for sticky.rs and browser.rs.

    sticky.py serve HOST PORT NAME
    sticky.py cookie|query URL COUNT

A server says its name to every WebSocket and then sends back what it gets. The client opens COUNT of them, one after the
other, each with a session of its own, and prints the names.

To a browser a server gives a page (sticky.html), with a session for a cookie, and an image that it holds back until the
page asks for its release: a page has not loaded before its images have, so that is when it is looked at.
"""

import asyncio
import collections
import http
import pathlib
import random
import sys

import websockets

SENT = random.Random(1).randbytes(70_000)
PAGE = pathlib.Path(__file__).with_suffix(".html").read_bytes()

released = collections.defaultdict(asyncio.Event)


async def on_client(socket, path, name):
    await socket.send(name)
    if path == "/once":
        return
    async for message in socket:
        await socket.send(message)


async def on_request(path, fields):
    if path.startswith("/page?userId="):
        cookie = "session_id=" + path.partition("=")[2]
        return http.HTTPStatus.OK, {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": cookie}, PAGE
    if path == "/image":
        await asyncio.wait_for(released[fields["Cookie"]].wait(), 20)
        del released[fields["Cookie"]]
    if path == "/release":
        released[fields["Cookie"]].set()
    # What is no WebSocket and none of these gets no content; None goes on with the handshake.
    return None if "Upgrade" in fields else (http.HTTPStatus.NO_CONTENT, {}, b"")


async def serve(host, port, name):
    async def named(socket, path):
        await on_client(socket, path, name)

    # curl does not answer a close: not waited for.
    async with websockets.serve(named, host, int(port), process_request=on_request, close_timeout=0.1):
        await asyncio.Future()


async def who(url, cookie):
    fields = {"Cookie": cookie} if cookie else {}
    async with websockets.connect(url, extra_headers=fields, open_timeout=30) as socket:
        name = await asyncio.wait_for(socket.recv(), 20)
        await socket.send(SENT)
        assert await asyncio.wait_for(socket.recv(), 20) == SENT
        return name


async def names(case, url, count):
    for session in range(int(count)):
        if case == "cookie":
            yield await who(url, f"theme=dark; session_id={session}")
        else:
            yield await who(f"{url}?userId={session}", None)


async def ask(case, url, count):
    print("".join([name async for name in names(case, url, count)]))


command, *rest = sys.argv[1:]
asyncio.run(serve(*rest) if command == "serve" else ask(command, *rest))
