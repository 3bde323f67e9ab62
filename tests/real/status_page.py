"""A proxy that is not there, for its status page, and a browser that is looked into; for status_page.rs.

    status_page.py serve HOST PORT PAGE POLICY
    status_page.py look CHROMIUM PROFILE URL WIDTH light|dark SCREENSHOT < STEPS

The server gives the page and makes up what it asks for: `/ctl?backends=N` says how many backends there are, `name=` what
the first one is called, `silent=1` that nothing is answered, `token=` that changes need it. `/asked` tells the changes that
were asked for. Numbers grow from one answer to the next.

The browser is driven over the DevTools protocol. Each line of STEPS is an expression that is awaited and whose value is
printed as JSON; one that begins with `until ` is asked again for ten seconds, until it is true.
"""

import asyncio
import base64
import http.server
import json
import math
import os
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request


class Proxy:
    """What there is, and what was asked for."""

    def __init__(self):
        self.backends, self.name, self.silent, self.token = 4, None, False, None
        self.began, self.asked, self.states, self.draining = time.monotonic() - 273_000, [], {}, False

    def backend(self, at, grown):
        name = self.name if at == 0 and self.name else f"md-{at // 50 + 1}-{at % 50 + 1:02}"
        admin = self.states.get(name, "drain" if at % 17 == 6 else "ready")
        down = at % 11 == 2
        failed = f"connection refused by 10.0.{at // 250}.{at % 250 + 1}" if down else None
        standing = {"ready": "down" if down else "up"}.get(admin, admin)
        probe = {"type": "http", "rise": 0 if down else 4200 + at, "fall": 12 if down else 0, "rise_needed": 2,
                 "fall_needed": 5, "interval_seconds": 3.0, "initial": "up", "last_result": "failed" if down else "passed",
                 "last_error": failed, "last_duration_us": 430 + 37 * at, "last_seconds_ago": 1.2,
                 "since_seconds": 40.0 if down else 98_000.0, "passed_total": 4200, "failed_total": 12}
        return {"name": name, "address": f"10.0.{at // 250}.{at % 250 + 1}:8080", "admin": admin,
                "health": "down" if down else "up", "standing": standing, "weight": 1 + at % 3, "backup": at % 13 == 3,
                "max_connections": 0, "connections": 0 if down else 2400 + 31 * at, "connections_total": 90_000 + grown // 9,
                "connect_failures_total": 55 if down else at % 3, "ejections_total": 1 if down else 0,
                "connect_us": 180 + 3 * at, "bytes_up": 70_000 * grown, "bytes_down": 900_000 * grown,
                "probe": probe if at % 5 != 4 else None}

    def status(self):
        uptime = time.monotonic() - self.began
        grown = int((uptime - 273_000) * 60) + 1_000
        backends = [self.backend(at, grown) for at in range(self.backends)]
        worker = {"accepted_total": 40_000 + grown, "relay": {"copy": 600_000 * grown, "splice": 200_000 * grown},
                  "bytes_up": 70_000 * grown, "bytes_down": 730_000 * grown, "handed_over_total": 122, "turns_total": 9_000_000,
                  "buffers": 8192, "buffers_free": 7011}
        workers = [{"id": at, "cpu": 2 * at, "connections": 4_980 + 7 * at, "busy_ratio": ratio, **worker}
                   for at, ratio in enumerate([0.34, 0.371, 0.86, 0.29])]
        listener = {"connections": 19_000, "max_connections": 0, "accepted_total": 160_000 + 4 * grown,
                    "rejected_total": 41, "bytes_up": 280_000 * grown, "bytes_down": 2_900_000 * grown}
        used = lambda used, limit: {"used": used, "limit": limit}
        return {"version": "0.1.0", "pid": 4711, "uptime_seconds": uptime, "started_at": "2026-11-18T13:20:00Z",
                "config_age_seconds": 7_420.0, "draining": self.draining, "phase": "draining" if self.draining else "serving",
                "connections": 19_954,
                "limits": {"connections": used(19_954, 262_144), "descriptors": used(40_003, 524_288),
                           "source_ports": used(23_311, 28_232), "buffers": used(4_724, 32_768), "memlock_bytes": None},
                "closed": {"client-fin": 120_000 + 3 * grown, "backend-reset": 77, "idle": 310 + grown // 40, "connect-refused": 55},
                "rejected": {"too-fast": 41}, "workers": workers,
                "listeners": [{"name": "feed", "addresses": ["0.0.0.0:9000", "[::]:9000"], **listener},
                              {"name": "admin-ws", "addresses": ["127.0.0.1:9100"], **listener, "connections": 954}],
                "upstreams": [{"name": "market-data", "balance": "ip_hash", "fingerprint": "8f1d2c3b4a596877", "backends": backends}]}

    def history(self):
        wave = lambda at, every: 0.6 + 0.3 * math.sin(at / every) + 0.1 * math.sin(at * 1.7)
        return {"interval_seconds": 5, "samples": [
            {"connections": int(19_000 + 900 * wave(at, 23)), "accepted_per_second": 240 * wave(at, 11),
             "up_per_second": 16.8e6 * wave(at, 31), "down_per_second": 175e6 * wave(at, 17),
             "connect_us": None if at % 41 == 0 else 190 * wave(at, 7)} for at in range(180)]}

    def configure(self, query):
        self.backends = int(query.get("backends", self.backends))
        self.name = query.get("name", self.name)
        self.silent = query.get("silent", "0") == "1"
        self.token = query.get("token") or None


class Handler(http.server.BaseHTTPRequestHandler):
    proxy, page, policy = Proxy(), b"", ""

    def answer(self, code, kind, body, **fields):
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **fields}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, code=200):
        self.answer(code, "application/json", json.dumps(value).encode())

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/ctl":
            self.proxy.configure(dict(urllib.parse.parse_qsl(query)))
            self.json({})
        elif path == "/asked":
            self.json(self.proxy.asked)
        elif path == "/status":
            self.answer(200, "text/html; charset=utf-8", self.page, Content_Security_Policy=self.policy)
        elif self.proxy.silent:
            self.close_connection = True
        elif path == "/status.json":
            self.json(self.proxy.status())
        elif path == "/history.json":
            self.json(self.proxy.history())
        else:
            self.json({"error": "no such route"}, 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.proxy.token is None:
            return self.json({"error": "a change that a web page asks for needs a token; set admin.token_file"}, 403)
        if self.headers.get("Authorization") != f"Bearer {self.proxy.token}":
            return self.json({"error": "this is not the token in admin.token_file"}, 401)
        self.proxy.asked.append([self.path, body.decode()])
        if self.path in ("/drain", "/undrain"):
            self.proxy.draining = self.path == "/drain"
        else:
            name = urllib.parse.unquote(self.path.split("/")[4])
            self.proxy.states[name] = json.loads(body)["state"]
        return self.json({"done": "as asked"})

    def log_message(self, *_):
        pass


def serve(host, port, page, policy):
    with open(page, "rb") as file:
        Handler.page = file.read()
    Handler.policy = policy
    http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()


class Browser:
    def __init__(self, socket):
        self.socket, self.number = socket, 0

    async def call(self, method, **params):
        self.number += 1
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.recv(), 20))
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    async def value(self, expression):
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, replMode=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    async def until(self, expression):
        for _ in range(100):
            value = await self.value(expression)
            if value:
                return value
            await asyncio.sleep(0.1)
        raise RuntimeError(f"never: {expression}\n" + str(await self.value("document.body.innerText")))


async def look(port, url, width, scheme, screenshot):
    import websockets

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as reply:
        target = next(it for it in json.load(reply) if it["type"] == "page")
    async with websockets.connect(target["webSocketDebuggerUrl"], max_size=1 << 27) as socket:
        browser = Browser(socket)
        await browser.call("Emulation.setDeviceMetricsOverride", width=int(width), height=900, deviceScaleFactor=1, mobile=int(width) < 600)
        await browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await browser.call("Page.enable")
        await browser.call("Page.navigate", url=url)
        for step in sys.stdin.read().splitlines():
            what = step.removeprefix("until ")
            print(json.dumps(await (browser.value if what == step else browser.until)(what)), flush=True)
        if screenshot != "-":
            shot = await browser.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
            with open(screenshot, "wb") as file:
                file.write(base64.b64decode(shot["data"]))


def start(chromium, profile):
    """The browser, and the port of its DevTools."""
    words = ["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-breakpad", "--no-first-run",
             "--disable-background-networking", "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    browser = subprocess.Popen([chromium, *words, "about:blank"], stderr=subprocess.PIPE, env={**os.environ, "HOME": profile}, text=True)
    for line in browser.stderr:
        if line.startswith("DevTools listening on "):
            # It goes on talking, and must not wait for somebody who listens.
            threading.Thread(target=browser.stderr.read, daemon=True).start()
            return browser, urllib.parse.urlsplit(line.split()[-1]).port
    raise RuntimeError("the browser did not start")


def main():
    command, *words = sys.argv[1:]
    if command == "serve":
        return serve(*words)
    chromium, profile, *words = words
    browser, port = start(chromium, profile)
    try:
        asyncio.run(look(port, *words))
    finally:
        browser.kill()
        browser.wait()


if __name__ == "__main__":
    main()
