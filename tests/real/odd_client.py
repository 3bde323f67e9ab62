"""A client of TLS that says things which others do not, for odd_client.rs.

    odd_client.py HOST PORT VERSION:CASE…

Says what became of each case, a line each: `VERSION CASE OUTCOME`. Each has a connection of its own to a server that sends back what it
gets. The cases that are named say a word afterwards, and are `echoed`. All others say nothing more, lest the answer gets lost: their
outcome is the alert that comes, or `closed` without one.
"""

import socket
import sys

from tlslite import messages
from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import AlertDescription, ContentType, KeyUpdateMessageType
from tlslite.errors import TLSAbruptCloseError, TLSClosedConnectionError, TLSRemoteAlert
from tlslite.messages import Message

VERSIONS = {"1.2": (3, 3), "1.3": (3, 4)}
PLAIN_CCS = b"\x14\x03\x03\x00\x01\x01"


def connect(host, port, version, record=None):
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = VERSIONS[version]
    client = TLSConnection(socket.create_connection((host, port), timeout=20))
    if record:
        client.recordSize = record
    client.handshakeClientCert(settings=settings)
    return client


def send(client, kind, *records):
    """Records of that type with these bytes in them, sealed as all others."""
    for record in records:
        for _ in client._sendMsgThroughSocket(Message(kind, bytearray(record))):
            pass


def data(*records):
    return lambda client: send(client, ContentType.application_data, *records)


def alert(*records):
    return lambda client: send(client, ContentType.alert, *records)


def handshake(*records):
    return lambda client: send(client, ContentType.handshake, *records)


def plain(wire):
    return lambda client: client.sock.send(wire)


def update(kind, times=1):
    def act(client):
        for _ in range(times):
            for _ in client.send_keyupdate_request(kind):
                pass

    return act


def update_in_small_records(client):
    client.recordSize = 2
    update(KeyUpdateMessageType.update_not_requested)(client)


def data_within_update(client):
    handshake(b"\x18\x00")(client)
    data(b"x")(client)


def nothing(client):
    pass


def one_byte_records(client):
    client.recordSize = 1


BOTH = {
    "conversation": nothing,
    "data-in-records-of-one-byte": one_byte_records,
    "data-of-no-bytes": data(b"", b"", b""),
    "data-of-16385-bytes": data(bytes(16385)),
    "alert-of-no-bytes": alert(b""),
    "alert-cut-short": alert(b"\x02"),
    "alert-with-a-byte-more": alert(b"\x02\x0a\x00"),
    "alert-fatal": alert(b"\x02\x50"),
    "alert-user-canceled": alert(b"\x01\x5a"),
    "alert-warning": alert(b"\x01\x70"),
    "alert-warnings": alert(*[b"\x01\x70"] * 8),
    "handshake-of-no-bytes": handshake(b""),
    "record-without-keys": plain(b"\x17\x03\x03\x00\x20" + bytes(32)),
    "record-of-no-type": plain(b"\x63\x03\x03\x00\x01\x00"),
    "change-cipher-spec": plain(PLAIN_CCS),
}
NEW = {
    "key-update": update(KeyUpdateMessageType.update_not_requested),
    "key-update-requested": update(KeyUpdateMessageType.update_requested),
    "key-updates": update(KeyUpdateMessageType.update_not_requested, 100),
    "key-updates-requested": update(KeyUpdateMessageType.update_requested, 100),
    "key-update-of-no-kind": handshake(b"\x18\x00\x00\x01\x02"),
    "key-update-cut-short": handshake(b"\x18\x00\x00\x00"),
    "key-update-with-a-byte-more": handshake(b"\x18\x00\x00\x02\x00\x00"),
    "key-update-in-small-records": update_in_small_records,
    "key-update-with-data-between": data_within_update,
}


def outcome(act):
    try:
        return act()
    except TLSRemoteAlert as error:
        return AlertDescription.toStr(error.description)
    except (TLSAbruptCloseError, TLSClosedConnectionError, ConnectionError):
        return "closed"


def listen(client):
    return "nothing" if client.read(min=1, max=1) else "closed"


def echo(client):
    client.write(b"through ringway")
    return "echoed" if client.read(min=15, max=15) == b"through ringway" else "closed"


def after(client, act, end):
    try:
        act(client)
    except (TLSClosedConnectionError, ConnectionError):
        pass  # it has ended before all was said
    return end(client)


def with_finished(change, act):
    """A handshake whose last message is changed."""
    write = messages.Finished.write
    messages.Finished.write = lambda self: change(write(self))
    try:
        return act()
    finally:
        messages.Finished.write = write


def longer(message):
    return message[:3] + bytearray([message[3] + 1]) + message[4:] + bytearray(1)


def shorter(message):
    return message[:3] + bytearray([message[3] - 1]) + message[4:-1]


def other(message):
    return message[:-1] + bytearray([message[-1] ^ 1])


FINISHED = {"finished-longer": longer, "finished-shorter": shorter, "finished-other": other}


def cases(address, version, more):
    """Each as its name and what to do, once it is known how it ends."""
    for name, act in {**BOTH, **more}.items():
        yield name, lambda end: after(connect(*address, version), act, end)
    for name, change in FINISHED.items():
        yield name, lambda end: with_finished(change, lambda: end(connect(*address, version)))
    yield "handshake-in-small-records", lambda end: end(connect(*address, version, 8))


def main(host, port, *echoed):
    for version, more in [("1.2", {}), ("1.3", NEW)]:
        for name, act in cases((host, int(port)), version, more):
            end = echo if f"{version}:{name}" in echoed else listen
            print(version, name, outcome(lambda: act(end)))


main(*sys.argv[1:])
