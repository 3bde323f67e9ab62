"""A WebSocket server and its clients, for websocket.rs.

    websocket.py serve HOST PORT
    websocket.py large|fragmented|crowd|pings|push URL

A client prints "as it should be" and ends with 0, or with a traceback.
"""

import asyncio
import random
import sys

import websockets

CLIENTS = 200
PUSHED = 2000
PINGS = 10

# Uncompressed, so that lengths on the wire are those of the messages; no pings but our own.
OPTIONS = {"compression": None, "max_size": None, "ping_interval": None}


async def on_client(socket, path):
    if path == "/push":
        for number in range(PUSHED):
            await socket.send(pushed(number))
    elif path == "/pings":
        await ping(socket)
        await socket.send("pinged")
    async for message in socket:
        await socket.send(message)


async def ping(socket):
    for _ in range(PINGS):
        await asyncio.wait_for(await socket.ping(random.randbytes(100)), 20)
        # The silence between them is what is tested.
        await asyncio.sleep(0.1)


def pushed(number):
    return random.Random(number).randbytes(number % 300)


async def echoes(socket, message):
    await socket.send(message)
    assert await socket.recv() == message, len(message)


def connect(url):
    return websockets.connect(url, open_timeout=30, **OPTIONS)


async def large(url):
    async with connect(url) as socket:
        # Around the limits of the three forms of a length (RFC 6455, section 5.2), and of TCP's.
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, (1 << 22) + 1, 1 << 24):
            await echoes(socket, random.randbytes(size))
        await echoes(socket, "ü" * (1 << 20))


async def fragmented(url):
    async with connect(url) as socket:
        for size, pieces in ((1, 1000), (1000, 1000), (70000, 30)):
            parts = [random.randbytes(size) for _ in range(pieces)]
            await socket.send(parts)
            assert await socket.recv() == b"".join(parts)


async def crowd(url):
    async def one(number):
        chance = random.Random(number)
        async with connect(url) as socket:
            # All are there before the first one goes on.
            await barrier()
            for _ in range(20):
                await echoes(socket, chance.randbytes(chance.randrange(5000)))

    arrived, all_there = 0, asyncio.Event()

    async def barrier():
        nonlocal arrived
        arrived += 1
        if arrived == CLIENTS:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 30)

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))


async def pings(url):
    async with connect(url) as socket:
        await ping(socket)
        assert await asyncio.wait_for(socket.recv(), 20) == "pinged"


async def push(url):
    async with connect(url) as socket:
        for number in range(PUSHED):
            assert await asyncio.wait_for(socket.recv(), 20) == pushed(number), number


async def serve(host, port):
    async with websockets.serve(on_client, host, int(port), **OPTIONS):
        await asyncio.Future()


def main():
    case, *rest = sys.argv[1:]
    if case == "serve":
        asyncio.run(serve(*rest))
        return
    asyncio.run({"large": large, "fragmented": fragmented, "crowd": crowd, "pings": pings, "push": push}[case](*rest))
    print("as it should be")


main()
