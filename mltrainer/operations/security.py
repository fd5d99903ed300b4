"""What of this installation is protected, against whom, and what is not; docs/security.md has the threat model."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mltrainer import blobstore, store, vault
from mltrainer import settings as knobs
from mltrainer.errors import MltrainerError
from mltrainer.operations import encryption
from mltrainer.settings import settings

PRIVATE = ("mltrainer.sqlite", "answers.sqlite", "mltrainer.head", "checkpoint.key", "logs")


@dataclass(frozen=True)
class Protection:
    """One thing: whether it is protected ("yes", "no") or cannot be by us ("by you"), and why or how."""

    what: str
    protected: str
    why: str


def protections() -> list[Protection]:
    """Everything that is worth protecting, a row each; nothing is changed."""
    return [*_files(), *_keys(), *_trail(), *_rest()]


def _files() -> Iterator[Protection]:
    home = settings().home
    if not home.exists():
        yield Protection("state folder", "yes", f"{home} is made for its owner alone on first use")
    elif os.name == "nt":
        yield Protection("state folder", "by you", "Windows decides who may read it; see its properties")
    else:
        for path in (home, *(home / name for name in PRIVATE if (home / name).exists())):
            if path == home or home.stat().st_mode & 0o077:  # in a folder that nobody else enters all are safe
                yield _mode(path.name if path != home else "state folder", path)


def _mode(what: str, path: Path) -> Protection:
    mode = path.stat().st_mode & 0o777
    bare = bool(mode & 0o077)
    how = f"chmod {'700' if path.is_dir() else '600'} {path}"
    return Protection(what, "no" if bare else "yes", f"mode {mode:o}{f', others may read it; {how}' if bare else ''}")


def _keys() -> Iterator[Protection]:
    where = knobs.origins()
    for name, place in where.items():
        yield Protection(name, "yes" if place != ".env" or not knobs.exposed() else "no", f"from {place}")
    if not where:
        yield Protection("keys", "yes", "there are none")
    if knobs.exposed():
        yield Protection(".env", "no", "others may read the keys in it; chmod 600 .env")
    if find_spec("keyring") is None:
        yield Protection("keyring of the system", "by you", "package keyring is not installed: pip install keyring")


def _trail() -> Iterator[Protection]:
    kept = "it shows an edit, and what this home remembers shows a cut"
    yield Protection("audit trail against an edit", "yes", kept if store.remembered() else "it is empty yet")
    who = "who may write to this home can write it anew; keep mltrainer audit head, or a signed one, elsewhere"
    yield Protection("audit trail against its owner", "by you", who)
    able = find_spec("cryptography") is not None
    signing = (
        "mltrainer audit sign" if able else "package cryptography is not installed: pip install 'mltrainer[encrypted]'"
    )
    yield Protection("signed heads", "yes" if able else "no", signing)


def _encryption() -> Protection:
    """Whether blobs and kept answers are encrypted, and by which key."""
    what = "results and kept answers at rest"
    try:
        key, clear = vault.active_key(), encryption.in_clear()
    except MltrainerError as error:
        return Protection(what, "no", str(error))
    marked = vault.mark_of(blobstore.folder())
    if marked and marked not in vault.read_keys():
        return Protection(what, "no", f"encrypted by key {marked}, which is not here, so none can be read or written")
    if not key:
        return Protection(
            what, "by you", "they lie in clear; mltrainer store key FILE makes a key, or encrypt the disk"
        )
    left = f"; {clear} results are not yet: mltrainer store encrypt" if clear else ""
    return Protection(what, "no" if clear else "yes", f"encrypted by key {key}, which is as safe as its file{left}")


def _rest() -> Iterator[Protection]:
    yield _encryption()
    disk = "rows, pages, logs and the addresses of what was asked lie in clear; encrypt the disk or the home folder"
    yield Protection("rows at rest", "by you", disk)
    sealed = settings().passphrase is not None
    how = "sealed by MLTRAINER_PASSPHRASE" if sealed else "in clear unless --passphrase is given"
    yield Protection("backups", "yes" if sealed else "by you", how)
    yield Protection("kept models", "yes", "skops with an exact list of types; no pickle is ever opened")
    yield Protection("code in the same process", "no", "a notebook of yours may do all that you may")
