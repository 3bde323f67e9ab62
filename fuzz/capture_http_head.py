"""Records what real clients send first over HTTP, as seeds in corpus/http_head. `python3 capture_http_head.py`

Needs curl, python3-websockets, and node with the package ws where it finds it (NODE_PATH). The seed `chromium` was
written after what its network panel shows; the seeds that are named after a trouble are by hand.
"""

import pathlib
import socket
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent / "corpus" / "http_head"

# What the address of the moment is replaced by, so that a seed says the same each time.
NAME = b"feed.example.com:9000"

WEBSOCKETS = """
import asyncio, websockets
async def main():
    await websockets.connect("ws://ADDRESS/chat?room=7")
asyncio.run(main())
"""

WS = """
const WebSocket = require("ws");
const headers = { Cookie: 'session="a b"; theme=dark' };
new WebSocket("ws://ADDRESS/chat?room=7", ["chat", "superchat"], { headers }).on("error", () => {});
"""

UPGRADE = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
           "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]

CLIENTS = {
    "python-websockets": [sys.executable, "-c", WEBSOCKETS],
    "node-ws": ["node", "-e", WS],
    "node-undici": ["node", "--experimental-websocket", "-e", "new WebSocket('ws://ADDRESS/chat?room=7')"],
    "curl-upgrade": ["curl", "-sN", *UPGRADE, "http://ADDRESS/chat?room=7"],
    "curl-post": ["curl", "-s", "-d", "name=value", "http://ADDRESS/form"],
    "curl-proxy-get": ["curl", "-s", "-x", "http://ADDRESS", "http://example.com/a?b=c"],
    "curl-http2-prior-knowledge": ["curl", "-s", "--http2-prior-knowledge", "http://ADDRESS/"],
    "curl-http2-upgrade": ["curl", "-s", "--http2", "http://ADDRESS/"],
}


def capture(command):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        address = "127.0.0.1:%d" % server.getsockname()[1]
        client = subprocess.Popen(
            [word.replace("ADDRESS", address) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return receive(server).replace(address.encode(), NAME)
        finally:
            client.kill()
            client.wait()


def receive(server):
    connection, _ = server.accept()
    with connection:
        connection.settimeout(5)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        return received


for seed, command in CLIENTS.items():
    (FOLDER / seed).write_bytes(capture(command))
