"""Tables that leave the product as files: `--out rows.csv` or `--out rows.parquet`."""

import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mltrainer.cli.terminal import complain
from mltrainer.errors import BadInput, Unavailable
from mltrainer.plain import harmless

if TYPE_CHECKING:
    import pandas as pd


def _can_be_written(out: Path | None) -> Path | None:
    """Say before any work that a file cannot be written."""
    if out is None:
        return None
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise BadInput(f"--out {str(out)[:80]!r} ends in neither .csv nor .parquet, so its format is not known")
    if out.is_dir() or not (out.parent.is_dir() or not out.parent.exists()):
        raise BadInput(f"--out {str(out)[:80]!r} is no place for a file; name one in a folder")
    if out.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise Unavailable(f"--out {str(out)[:80]!r}: pyarrow is not installed: pip install 'mltrainer[parquet]'")
    return out


OutFile = Annotated[
    Path | None, typer.Option("--out", callback=_can_be_written, help="also write the rows to a .csv or .parquet file")
]


def write(frame: "pd.DataFrame", out: Path | None, about: Any = None) -> None:
    """Write a table with full precision; `about` goes into the metadata of Parquet, for which CSV has no place."""
    from mltrainer.store import write_atomic

    if out is None:
        return
    rows = frame.reset_index() if frame.index.name is not None else frame
    if out.suffix.lower() == ".csv":
        write_atomic(out, harmless(rows).to_csv(index=False, lineterminator="\n"))
    else:
        rows = rows.copy()
        rows.attrs = {"mltrainer": json.dumps(about, default=str)} if about else {}
        write_atomic(out, rows.to_parquet(index=False))
    complain(f"{len(rows):,} rows written to {out}")


def together(parts: "Iterable[tuple[dict[str, str], pd.DataFrame]]") -> "pd.DataFrame":
    """Several frames below one another, each with columns in front that say what it is."""
    import pandas as pd

    made = []
    for labels, frame in parts:
        rows = frame.reset_index() if frame.index.name is not None else frame.copy()
        for place, (name, text) in enumerate(labels.items()):
            rows.insert(place, name, text)
        made.append(rows)
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()
