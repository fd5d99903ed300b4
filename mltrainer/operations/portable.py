"""What somebody without this installation can check: the trail as a file, a script beside it, and signed heads."""

import importlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mltrainer import store
from mltrainer.disk import write_atomic
from mltrainer.errors import BadInput, Unavailable
from mltrainer.operations import check_trail
from mltrainer.trust import audit

SCRIPT = Path(check_trail.__file__)


def export(to: str | Path) -> audit.Head:
    """Write the whole trail, an entry a line exactly as it is held, and beside it the script that checks it.

    Who has both and a copy of a run folder needs only Python's standard library: `python check_trail.py FILE RUN`.
    """
    path, head = Path(to), audit.Head(0, audit.GENESIS)
    if path.exists():
        raise BadInput(f"{path} is there already; give a new name")
    script = path.with_name(SCRIPT.name)
    if path == script:
        raise BadInput(f"{SCRIPT.name} is the script that is written beside the trail; give another name")
    if script.exists() and script.read_bytes() != SCRIPT.read_bytes():
        raise BadInput(f"{script} is another one than this version's; export to another folder, or move it away")
    with store.whole_file(path) as file:
        for row in audit.rows():
            file.write(json.dumps(row, sort_keys=True).encode() + b"\n")
            head = audit.Head(row["seq"], row["hash"])
    store.write_atomic(script, SCRIPT.read_bytes())
    return head


def sign(key: str | Path) -> dict[str, str]:
    """The present head with an Ed25519 signature: to be kept where who may write to this home may not.

    Parameters
    ----------
    key : file of the private key, 32 bytes in hex, made on first use for its owner alone; keep it off this machine, or
        whoever can rewrite the trail can also sign it anew.

    Raises
    ------
    Unavailable
        Package `cryptography` is not installed: Python's own library has no Ed25519. Verifying needs nothing.
    """
    private = _private(Path(key))
    head, at = str(audit.head()), datetime.now(UTC).isoformat(timespec="seconds")
    public = private.public_key().public_bytes_raw().hex()
    return {
        "head": head,
        "at": at,
        "public_key": public,
        "signature": private.sign(check_trail.message(head, at)).hex(),
    }


def _private(path: Path) -> Any:
    try:
        keys = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    except ImportError:
        why = "Python's own library has no Ed25519"
        raise Unavailable(
            f"signing needs the package cryptography, as {why}; pip install 'mltrainer[encrypted]'"
        ) from None
    if not path.exists():
        write_atomic(path, keys.Ed25519PrivateKey.generate().private_bytes_raw().hex(), private=True)
    if os.name != "nt" and path.stat().st_mode & 0o077:
        raise BadInput(f"{path} can be read by others, so what it signs proves nothing; chmod 600, or make a new key")
    try:
        return keys.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text()))
    except ValueError:
        raise BadInput(f"{path} is no private key; it holds 64 hex digits") from None
