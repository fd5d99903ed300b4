"""A folder of weights that somebody else has trained, as a model that can be judged: what it must say of itself."""

import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.models.foundation import FAMILY, FOUNDATION, LIBRARIES, LazyFoundation, flaw
from mltrainer.models.own import NAME
from mltrainer.plain import cleaned
from mltrainer.trust import gate

MANIFEST = "manifest.json"
ASKS: dict[str, type] = {
    "name": str, "library": str, "weights": str, "sha256": str, "licence": str, "training_cutoff": str, "window": int,
}  # fmt: skip
"""What a manifest must say; `columns`, a list of features, and `reference` it may say."""
PREFIX = "weights:"  # of a folder where a name of the catalog could stand


def foundation(folder: str | Path) -> ModelSpec:
    """Make a row for `evaluate` of a network that lies in a folder, with its licence and what it may already know.

    Parameters
    ----------
    folder : holds the weights and `manifest.json` with name, library ("keras"), weights (a file of the folder), sha256
        of it, licence, training_cutoff (YYYY-MM-DD, the last day of anything it was trained on), window (sessions that
        it reads) and, if it reads other features than return_1, columns. Nothing is downloaded.

    Returns
    -------
    ModelSpec
        Judged of sessions after the cutoff alone; where fewer than 63 are, the result is "contaminated" and not ranked.

    Raises
    ------
    Refused
        A folder without a manifest, licence, cutoff or the weights that it names.
    """
    place = _place(folder)
    said = _manifest(place)
    if why := flaw(place / said["weights"], said["sha256"]):
        gate.refuse(f"the weights {said['weights'][:60]!r}", why, "get them again from who gave them to you")
    columns = tuple(said.get("columns", ["return_1"]))
    names = ("library", "weights", "sha256", "window", "licence", "training_cutoff")
    cutoff, licence = said["training_cutoff"], said["licence"]
    reading = (
        f"Trained elsewhere until {cutoff}; licence: {licence[:80]}. {cleaned(said.get('reference', '')):.120}".strip()
    )
    return ModelSpec(
        said["name"], FOUNDATION, LazyFoundation(params={n: said[n] for n in names}, folder=str(place)), 5.0, FAMILY,
        reading=reading, extra="deep", columns=columns, lags=said["window"], origin="own", cutoff=cutoff,
    )  # fmt: skip


def _place(folder: str | Path) -> Path:
    try:
        return Path(folder).expanduser().absolute()
    except (RuntimeError, ValueError):  # ~ of somebody who is not known here
        _refuse(Path(folder), "is in no home that is known here", "give the whole path")


def _manifest(place: Path) -> Mapping[str, Any]:
    try:
        text = (place / MANIFEST).read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # a null in the path
        _refuse(place, f"has no {MANIFEST}", f"write one with {', '.join(ASKS)}")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        _refuse(place, f"has a {MANIFEST} that is no JSON", "mend it")
    said = said if isinstance(said, dict) else {}
    lacking = [name for name, kind in ASKS.items() if type(said.get(name)) is not kind or not str(said[name]).strip()]
    if lacking:
        _refuse(place, f"says no {' and no '.join(lacking)}", f"write it into its {MANIFEST}")
    if odd := [name for name, kind in ASKS.items() if kind is str and not said[name].isprintable()]:
        _refuse(place, f"has characters in its {odd[0]} that nobody sees", "write it in plain letters")
    if not NAME.fullmatch(said["name"]):
        some = "up to 80 letters, digits, spaces and . _ - + ( )"
        _refuse(place, f"has the name {said['name'][:40]!r}", f"write {some}, a letter or digit first")
    if not re.fullmatch("[0-9a-f]{64}", said["sha256"]):
        _refuse(place, f"has the sha256 {said['sha256'][:12]!r}", "write 64 digits 0 to 9 and a to f")
    try:
        known = date.fromisoformat(said["training_cutoff"])
    except ValueError:
        _refuse(place, f"has the training_cutoff {said['training_cutoff'][:20]!r}", "write a day, YYYY-MM-DD")
    if said["library"] not in LIBRARIES:
        _refuse(place, f"is of the library {said['library'][:20]!r}", f"the adapter opens {', '.join(LIBRARIES)}")
    if Path(said["weights"]).name != said["weights"]:
        _refuse(place, f"names the weights {said['weights'][:40]!r}", "name a file of the folder itself")
    if said["name"] in {row.name for row in catalog.every()}:
        _refuse(place, f"is called {said['name']}, which is a model of the catalog", "give it another name")
    columns = said.get("columns", ["return_1"])
    if not isinstance(columns, list) or not columns or not all(isinstance(c, str) for c in columns):
        _refuse(place, "has columns that are no list of features", 'write a list such as ["return_1"]')
    if not 1 < said["window"] <= 512:
        _refuse(place, f"has a window of {str(said['window'])[:12]} sessions", "write 2 to 512")
    return said | {"training_cutoff": known.isoformat()}


def _refuse(place: Path, why: str, remedy: str) -> NoReturn:
    gate.refuse(f"the folder {place.name[:60]!r} of weights", why, remedy, kind="mistake")
