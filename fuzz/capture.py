#!/usr/bin/env python3
"""Records what TLS clients and PROXY protocol senders of today say first, as seeds for the fuzzer and cases for tests.

Everything happens on loopback: a listener takes one connection per client and keeps what comes first. Clients that are
not installed are passed over; `pip install curl_cffi` brings the hellos of Chrome, Firefox and Safari (BoringSSL).

    fuzz/capture.py            # writes fuzz/corpus/{client_hello,proxy_protocol}/*.bin
"""

import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

CORPUS = pathlib.Path(__file__).parent / "corpus"
HOST = "feed.example.com"


class Listener:
    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.port = self.socket.getsockname()[1]

    def first_bytes(self):
        client, _ = self.socket.accept()
        client.settimeout(1)
        got = b""
        try:
            while piece := client.recv(65536):
                got += piece
        except (TimeoutError, ConnectionError):
            pass
        client.close()
        return got


def record(folder, name, start):
    """Calls start(port) on a thread of its own and keeps what arrives at that port."""
    listener = Listener()
    thread = threading.Thread(target=quietly, args=(start, listener.port), daemon=True)
    thread.start()
    try:
        got = listener.first_bytes()
    except TimeoutError:
        print(f"{name}: nothing came")
        return
    finally:
        listener.socket.close()
        thread.join(10)
    (CORPUS / folder).mkdir(parents=True, exist_ok=True)
    (CORPUS / folder / f"{name}.bin").write_bytes(got)
    print(f"{name}: {len(got)} bytes")


def quietly(start, port):
    try:
        start(port)
    except Exception:  # the listener hangs up in mid-handshake: every client complains
        pass


def run(*words):
    def start(port):
        line = [word.replace("PORT", str(port)) for word in words]
        subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=8)

    return start


def openssl(*more):
    return run("openssl", "s_client", "-connect", "127.0.0.1:PORT", *more)


def python_tls(name, *protocols):
    def start(port):
        context = ssl.create_default_context()
        if protocols:
            context.set_alpn_protocols(protocols)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            context.wrap_socket(plain, server_hostname=name)

    return start


def browser(name):
    def start(port):
        import curl_cffi
        from curl_cffi import CurlOpt

        here = {CurlOpt.RESOLVE: [f"{HOST}:{port}:127.0.0.1"]}
        with curl_cffi.Session(impersonate=name, timeout=5, curl_options=here) as session:
            session.get(f"https://{HOST}:{port}/")

    return start


NODE = """
require('tls').connect({port: PORT, host: '127.0.0.1', servername: 'feed.example.com', ALPNProtocols: ['h2', 'http/1.1']})
    .on('error', () => {})
"""

HELLOS = {
    "openssl": openssl("-servername", HOST, "-alpn", "h2,http/1.1"),
    "openssl-noname": openssl("-noservername"),
    "openssl-tls12": openssl("-servername", HOST, "-tls1_2"),
    # The padding extension and many groups make it longer than one record of 512 bytes.
    "openssl-fragments": openssl(
        "-servername", HOST, "-alpn", ",".join(f"protocol-{n}" for n in range(60)), "-max_send_frag", "512"
    ),
    "curl": run("curl", "-ks", "--resolve", f"{HOST}:PORT:127.0.0.1", f"https://{HOST}:PORT/"),
    "curl-tls12": run(
        "curl", "-ks", "--tls-max", "1.2", "--resolve", f"{HOST}:PORT:127.0.0.1", f"https://{HOST}:PORT/"
    ),
    "curl-address": run("curl", "-ks", "https://127.0.0.1:PORT/"),
    "node": run("node", "-e", NODE),
    "python": python_tls(HOST, "h2"),
    "python-trailing-dot": python_tls(f"{HOST}."),
    "chrome-150": browser("chrome150"),
    "chrome-99-android": browser("chrome99_android"),
    "firefox-147": browser("firefox147"),
    "safari-26": browser("safari260"),
}

HAPROXY = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend plain
    unique-id-format id-%ci-%cp
    bind 127.0.0.1:FRONT CRYPTO
    default_backend there
backend there
    server one 127.0.0.1:PORT SEND
"""


def haproxy(send, crypto=""):
    def start(port):
        with tempfile.TemporaryDirectory() as folder:
            front = free_port()
            pem = f"{folder}/both.pem"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}", "-keyout", pem,
                 "-out", f"{folder}/cert.pem"], capture_output=True, check=True)
            with open(pem, "a") as both:
                both.write(pathlib.Path(f"{folder}/cert.pem").read_text())
            words = {"FRONT": str(front), "PORT": str(port), "SEND": send, "CRYPTO": crypto.replace("PEM", pem)}
            text = HAPROXY
            for word, value in words.items():
                text = text.replace(word, value)
            pathlib.Path(f"{folder}/haproxy.cfg").write_text(text)
            process = subprocess.Popen(["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"])
            try:
                talk(front, pem if crypto else None)
            finally:
                process.terminate()
                process.wait(5)

    return start


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def talk(port, pem):
    plain = connect(port)
    if pem:
        context = ssl._create_unverified_context()
        context.load_cert_chain(pem)
        context.set_alpn_protocols(["h2"])
        plain = context.wrap_socket(plain, server_hostname=HOST)
    plain.sendall(b"hello")
    plain.settimeout(5)
    plain.recv(1)


def connect(port):
    for _ in range(50):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            threading.Event().wait(0.1)
    raise TimeoutError("haproxy does not listen")


HEADERS = {
    "haproxy-v1": haproxy("send-proxy"),
    "haproxy-v2": haproxy("send-proxy-v2"),
    "haproxy-v2-crc32c": haproxy("send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    "haproxy-v2-ssl": haproxy(
        "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
        "ssl crt PEM ca-file PEM verify optional crt-ignore-err all ca-ignore-err all alpn h2",
    ),
    "curl-v1": run("curl", "-s", "--haproxy-protocol", "http://127.0.0.1:PORT/"),
}


def main():
    os.environ.pop("SSLKEYLOGFILE", None)
    for name, start in HELLOS.items():
        record("client_hello", name, start)
    if shutil.which("haproxy"):
        for name, start in HEADERS.items():
            record("proxy_protocol", name, start)


if __name__ == "__main__":
    main()
