"""Encrypting what is there, by the key in force: the first time, after a new key was made, or back into clear."""

from dataclasses import dataclass, field

from mltrainer import blobstore, vault
from mltrainer.data.providers import cache
from mltrainer.errors import BadInput, Tampered, Unavailable
from mltrainer.settings import settings
from mltrainer.trust import audit


@dataclass(frozen=True)
class Rewritten:
    """What was written anew: the id of the key ("" for in clear), blobs and answers, and blobs too damaged for it."""

    key: str
    blobs: int
    answers: int
    damaged: list[str] = field(default_factory=list)


def rewrite(*, off: bool = False) -> Rewritten:
    """Write every blob and kept answer by the key in force, or in clear; others go on working.

    Each is read and verified first and replaced as a whole, so that a kill in the middle leaves all of it readable by
    the keys that there are, and the same call ends it. What is damaged is named and left as it is, for `scrub`.
    """
    key = vault.active_key()
    if not key:
        raise BadInput(f"there is no key; mltrainer store key FILE makes one, then {vault.REMEDY}")
    wanted = "" if off else key
    if wanted:
        for folder in (settings().home, blobstore.folder()):
            vault.guard(folder)
    blobs, damaged = 0, []
    for sha in blobstore.addresses():
        try:
            blobs += blobstore.reencrypted(sha, wanted)
        except Tampered:
            damaged.append(sha)
        except Unavailable:  # it was pruned meanwhile
            continue
    answers = cache.rewrite(wanted)
    for folder in (settings().home, blobstore.folder()):
        vault.mark(folder, wanted)
    audit.append("encryption", key=wanted, blobs=blobs, answers=answers, damaged=damaged)
    return Rewritten(wanted, blobs, answers, damaged)


def in_clear() -> int:
    """How many blobs are not encrypted by the key in force."""
    return sum(blobstore.key_of(sha) != vault.active_key() for sha in blobstore.addresses())
