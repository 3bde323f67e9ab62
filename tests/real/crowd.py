"""A crowd of connections that stay: those who serve it, and those who come.

serve IP PORT        accepts and echoes, beside others at the same address, until it is ended
come IP PORT COUNT   connects so many times, has something echoed on each, says "all are here", waits for a line, and
                     has something echoed on each again
"""

import resource
import select
import socket
import sys


def descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(ip, port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((ip, port))
    listener.listen(4096)
    poll, peers = select.epoll(), {}
    poll.register(listener.fileno(), select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                peer, _ = listener.accept()
                peers[peer.fileno()] = peer
                poll.register(peer.fileno(), select.EPOLLIN)
                continue
            try:
                heard = peers[fd].recv(64)
                peers[fd].sendall(heard)
            except OSError:
                heard = b""
            if not heard:
                poll.unregister(fd)
                peers.pop(fd).close()


def exchange(crowd, word):
    for peer in crowd:
        peer.sendall(word)
    for peer in crowd:
        got = b""
        while len(got) < len(word):
            more = peer.recv(len(word) - len(got))
            assert more, "the stream ended"
            got += more
        assert got == word, got


def come(ip, port, count):
    crowd = []
    while len(crowd) < count:
        # Fewer at a time than a listener's queue holds.
        some = [socket.create_connection((ip, port), 30) for _ in range(min(250, count - len(crowd)))]
        exchange(some, b"here")
        crowd += some
    print("all are here", flush=True)
    sys.stdin.readline()
    exchange(crowd, b"still")
    print("all are served", flush=True)


descriptors()
if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
else:
    come(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
