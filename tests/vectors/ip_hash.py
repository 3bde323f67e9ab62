"""Prints ip_hash.json: what ip_hash must answer, computed without ringway's code.

A second implementation, written from the description in src/balance/ip_hash.rs, on the reference XXH3 (pip install
xxhash). Run by hand, and only to add cases:

    python3 tests/vectors/ip_hash.py > tests/vectors/ip_hash.json

A line that changes means that clients change their backend when a box is upgraded: the diff must show none.
"""

import ipaddress
import json
import xxhash

SEED = int.from_bytes(b"ringway1", "big")
SLOTS = 65537
JUMPS = 32


def hash_of(data):
    return xxhash.xxh3_64_intdigest(data, seed=SEED)


def steps(number, prime):
    at, stride = number % prime, 1 + number // prime % (prime - 1)
    while True:
        yield at
        at = (at + stride) % prime


def share_out(backends):
    """The rank (place by name) that owns each slot."""
    heaviest = max(weight for _, weight in backends)
    wishes = [steps(hash_of(name.encode()), SLOTS) for name, _ in backends]
    credit = [heaviest - weight for _, weight in backends]
    owners, free = [None] * SLOTS, SLOTS
    while True:
        for rank, (_, weight) in enumerate(backends):
            credit[rank] += weight
            if credit[rank] >= heaviest:
                credit[rank] -= heaviest
                owners[next(slot for slot in wishes[rank] if owners[slot] is None)] = rank
                free -= 1
                if free == 0:
                    return owners


def fingerprint(backends, owners):
    data = b"".join(len(name.encode()).to_bytes(8, "little") + name.encode() for name, _ in backends)
    return hash_of(data + b"".join(rank.to_bytes(2, "little") for rank in owners))


def prime_from(count):
    n = max(count, 2)
    while any(n % d == 0 for d in range(2, n)):
        n += 1
    return n


def walk(key, owners, count):
    met, jumps, ranks = [], steps(key, SLOTS), steps(hash_of(key.to_bytes(8, "little")), prime_from(count))
    for _ in range(JUMPS):
        met.append(owners[next(jumps)])
    for _ in range(prime_from(count)):
        met.append(next(ranks))
    return [rank for rank in dict.fromkeys(met) if rank < count]


def client_key(client, v4, v6):
    ip = ipaddress.ip_address(client)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    network = ipaddress.ip_network((ip, v4 if ip.version == 4 else v6), strict=False)
    return hash_of(network.network_address.packed)


def value_key(value):
    return hash_of(value.encode())


def name_key(name):
    return hash_of(name.lower().encode())


def case(backends, v4, v6, clients, first, values=(), names=()):
    ranked = sorted(backends, key=lambda backend: backend[0].encode())
    owners = share_out(ranked)

    def answers(texts, key):
        walks = {text: walk(key(text), owners, len(ranked)) for text in texts}
        return {text: [ranked[rank][0] for rank in ranks[:first]] for text, ranks in walks.items()}

    return {
        "backends": [{"name": name, "weight": weight} for name, weight in backends],
        "prefix": {"v4": v4, "v6": v6},
        "fingerprint": f"{fingerprint(ranked, owners):016x}",
        "walks": answers(clients, lambda client: client_key(client, v4, v6)),
        "values": answers(values, value_key),
        "names": answers(names, name_key),
    }


V4 = ["0.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.1.1", "127.0.0.1", "192.0.2.77", "203.0.113.9", "255.255.255.255"]
V6 = ["::", "::1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1", "::ffff:10.0.0.1", "::ffff:203.0.113.9"]
THREE = [("10.0.0.1:8080", 1), ("10.0.0.2:8080", 1), ("10.0.0.3:8080", 1)]
WEIGHTED = [("zebra", 1), ("ant", 256), ("été", 7), ("bee", 100), ("", 3)]

# Lengths on both sides of XXH3's seams: 16, 128, 240 and a block of 1,024 bytes.
VALUES = ["a", "abc", "ABC", "a%2Fb", '"quoted"', "user 1", "é", "192.0.2.1", "/chat/room?1"]
VALUES += ["0123456789abcdef" * n + "z" * rest for n, rest in [(1, 0), (1, 1), (8, 0), (8, 1), (15, 0), (15, 1), (70, 7)]]
NAMES = ["a", "WS.Example.com", "ws.example.com", "xn--mnchen-3ya.de", "A" * 63 + ".example." + "B" * 63]

CASES = [
    case([("only", 9)], 32, 64, V4 + V6, 1),
    case(THREE, 32, 64, V4 + V6, 3),
    case(THREE[::-1], 24, 48, V4 + V6, 3),
    case(WEIGHTED, 32, 128, V4 + V6, 5),
    case([(f"10.1.0.{n}:9000", 1 + n % 5) for n in range(40)], 32, 64, V4[:4] + V6[:4], 40),
    case([(f"10.2.{n // 256}.{n % 256}:80", 1) for n in range(1000)], 32, 64, V4 + V6, 3),
    case(THREE, 32, 64, [], 3, VALUES, NAMES),
    case(WEIGHTED, 32, 64, [], 5, VALUES, NAMES),
]

HEADER = (
    "Made by tests/vectors/ip_hash.py, an implementation apart from ringway's. Never made anew to please a failing "
    "test: a changed answer moves clients on every upgraded box. walks: the first backends for each client, in order. values, "
    "names: the same for texts that are hashed as they are, and for those that are hashed in lower case."
)


def pretty(cases):
    """One backend and one key a line, so that a diff names what moved."""
    lines = ["{", f'"about": {json.dumps(HEADER)},', '"cases": [']
    for n, entry in enumerate(cases):
        lines.append(f'{{"prefix": {json.dumps(entry["prefix"])}, "fingerprint": "{entry["fingerprint"]}", "backends": [')
        lines.append(",\n".join(json.dumps(backend, ensure_ascii=False) for backend in entry["backends"]))
        close = "]"
        for kind in [kind for kind in ["walks", "values", "names"] if entry[kind]]:
            lines.append(f'{close}, "{kind}": {{')
            answers = entry[kind].items()
            lines.append(",\n".join(f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(names, ensure_ascii=False)}" for key, names in answers))
            close = "}"
        lines.append("}}" + ("," if n + 1 < len(cases) else ""))
    return "\n".join(lines + ["]", "}"])


print(pretty(CASES))
