"""Entries as a sheet: CSV in and out, with nothing in it that a spreadsheet would run."""

import csv
import io
from dataclasses import asdict
from pathlib import Path

from mltrainer.errors import BadInput
from mltrainer.plain import formula
from mltrainer.trading.positions import ledger
from mltrainer.trading.positions.accounts import Entry, State
from mltrainer.trading.positions.ledger import FIELDS, MAIN

MOST_BYTES = 10_000_000


def export_csv(account: str = MAIN) -> str:
    """The entries that count as CSV; text that a spreadsheet would run has an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for e in ledger.standing(account):
        writer.writerow([_safe(v) if isinstance(v, str) else repr(v) if v else "" for v in asdict(e).values()])
    return out.getvalue()


def import_csv(path: str | Path, *, account: str = MAIN) -> tuple[State, int]:
    """Write the entries of a CSV, all or none; a file read twice adds nothing the second time.

    Its first line names columns, kind and day among them; see `record` for the others.

    Returns
    -------
    The account after all of its entries, and how many are new.
    """
    try:
        body = Path(path).read_bytes()[: MOST_BYTES + 1]
        text = body.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{str(path)[:80]!r} cannot be read: {error.strerror or 'no such file'}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{str(path)[:80]!r} is no UTF-8 text") from None
    if len(body) > MOST_BYTES:
        raise BadInput(f"{str(path)[:80]!r} is longer than {MOST_BYTES:,} bytes")
    return ledger.write(_read(text), account, once=True)


def _read(text: str) -> list[Entry]:
    rows = csv.DictReader(io.StringIO(text))
    names = rows.fieldnames or []
    if not {"kind", "day"} <= set(names) or not set(names) <= set(FIELDS):
        raise BadInput(f"the first line must name kind and day, and no more than {', '.join(FIELDS)}")
    out = []
    for n, row in enumerate(rows, 2):
        values = {k: _plain(v) for k, v in row.items() if k is not None and v}
        try:
            out.append(ledger.entry(values.pop("kind", ""), values.pop("day", ""), **values))
        except BadInput as error:
            raise BadInput(f"line {n}: {error}") from None
    return out


def _safe(text: str) -> str:
    return f"'{text}" if formula(text) or text.startswith("'") else text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") else text
