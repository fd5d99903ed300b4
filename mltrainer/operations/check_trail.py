"""Check an exported audit trail, and a copy of a run against it. It needs Python 3.9 or later and nothing else.

    python check_trail.py TRAIL [RUN_FOLDER] [--head SIZE:HASH] [--signed FILE --public HEX]

TRAIL is what `mltrainer audit export` wrote, RUN_FOLDER a folder with a manifest.json. A head that was kept elsewhere,
or one that was signed, shows whether the trail was cut or written anew; the chain alone does not. Exit code 0 if all
holds, 1 if not; one finding a line.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read(trail):
    """Entries of an exported trail, a JSON object a line."""
    with open(trail, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def chain(entries):
    """Findings about the chain itself: each entry must follow the one before and match its own hash."""
    seq, prev = 0, "0" * 64
    for entry in entries:
        if entry["seq"] != seq + 1:
            yield f"entry {seq + 1} is missing: entry {entry['seq']} stands after entry {seq}"
        elif entry["prev"] != prev:
            yield f"entry {entry['seq']} does not follow entry {seq}"
        body = {name: cell for name, cell in entry.items() if name != "hash"}
        if hashlib.sha256(canonical(body)).hexdigest() != entry["hash"]:
            yield f"entry {entry['seq']} was edited: its contents do not match its hash"
        seq, prev = entry["seq"], entry["hash"]


def headed(entries, head):
    """Findings about a head that was kept elsewhere."""
    size, _, digest = head.partition(":")
    held = {entry["seq"]: entry["hash"] for entry in entries}
    if int(size) and held.get(int(size)) != digest:
        yield f"entry {size} is not the one that the head names: the trail was cut short or written anew"


def run(entries, folder):
    """Findings about a copy of a run: its manifest must be told of, and its files as the manifest records them."""
    body = (folder / "manifest.json").read_bytes()
    manifest, told = json.loads(body), {}
    for entry in entries:
        told.setdefault(entry["kind"], []).append(json.loads(entry["payload"]))
    if hashlib.sha256(body).hexdigest() not in [p.get("manifest") for p in told.get("report", [])]:
        yield "manifest.json is not one that the trail tells of"
    yield from headed(entries, manifest["audit_head"])
    for name, recorded in sorted(manifest["outputs"].items()):
        path = folder / name
        if Path(name).name != name:
            yield f"file {name!r} lies outside the run folder"
        elif not path.is_file():
            yield f"file {name} is missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != recorded:
            yield f"file {name} was changed"
    known = {*manifest["outputs"], "manifest.json"}
    yield from (f"file {p.name} was added" for p in sorted(folder.iterdir()) if p.is_file() and p.name not in known)
    trials = {(p.get("key"), p.get("blob")) for p in told.get("trial", [])}
    for result in manifest["results"]:
        if result["status"] == "ok" and (result["key"], result["blob"]) not in trials:
            yield f"the trail tells of no result of {result['model']} on {result['ticker']} such as the manifest names"


# --- Ed25519, RFC 8032 section 5.1.7: verification only, which holds no secret ----------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1


def added(a, b):
    """Sum of two points of the curve, each (X, Y, Z, T)."""
    u, v = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    w, z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = v - u, z - w, z + w, v + u
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, point):
    total = (0, 1, 1, 0)
    while n:
        total = added(total, point) if n & 1 else total
        point, n = added(point, point), n >> 1
    return total


def decoded(text):
    """The point that 32 bytes stand for; ValueError if they stand for none."""
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT % P
    if y >= P or (x * x - square) % P or (not x and sign):
        raise ValueError("no point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


BASE = decoded(((4 * pow(5, P - 2, P)) % P).to_bytes(32, "little"))


def signed(public, message, signature):
    """Whether a message (bytes) bears the Ed25519 signature of a public key (both bytes)."""
    try:
        A, R = decoded(public), decoded(signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "little")
    if len(public) != 32 or len(signature) != 64 or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), added(R, times(h, A))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


def message(head, at):
    """The bytes that are signed of a head, and of the time when it was."""
    return f"mltrainer audit head {head} at {at}".encode()


def witnessed(entries, note, public):
    """Findings about a signed head: it must bear the signature of the key that the reader trusts."""
    if note["public_key"] != public:
        yield f"the head was signed by another key, {note['public_key']}"
    elif not signed(bytes.fromhex(public), message(note["head"], note["at"]), bytes.fromhex(note["signature"])):
        yield "the signature of the head does not hold"
    else:
        yield from headed(entries, note["head"])


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trail", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--head")
    parser.add_argument("--signed", type=Path)
    parser.add_argument("--public")
    asked = parser.parse_args(words)
    if bool(asked.signed) != bool(asked.public):
        parser.error("--signed needs --public, the key that you trust, and the other way round")
    if asked.head and not re.fullmatch("[0-9]{1,18}:[0-9a-f]{64}", asked.head):
        parser.error("--head reads SIZE:HASH, as mltrainer audit head prints it")
    if asked.folder and not (asked.folder / "manifest.json").is_file():
        parser.error(f"{asked.folder} has no manifest.json, so it is no folder of a run")
    try:
        entries = read(asked.trail)
    except (OSError, ValueError) as error:
        parser.error(f"{asked.trail} is no exported trail ({error})")
    found = [*chain(entries), *(headed(entries, asked.head) if asked.head else [])]
    if asked.signed:
        found += witnessed(entries, json.loads(asked.signed.read_text(encoding="utf-8")), asked.public)
    found += run(entries, asked.folder) if asked.folder else []
    print(
        "\n".join(found) or f"{len(entries)} entries hold" + (f", and so does {asked.folder}" if asked.folder else "")
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
