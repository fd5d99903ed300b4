"""Alternative data: a source of somebody else's, let in by name, by the same rules, and only where it is asked for.

The product takes market data of Polygon and macro series of FRED. Another source is a row of `SOURCES` here and of
`provenance.SOURCES`: its terms and rights, its schema, a loader, a pinned file. It is refused unless
MLTRAINER_ALTERNATIVE names it; then it stands beside the macro series of every matrix, and every page says so.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

from mltrainer.data.sample import packaged_bytes
from mltrainer.errors import BadInput, UnknownName
from mltrainer.settings import settings
from mltrainer.trust import gate
from mltrainer.trust.provenance import SOURCES as ORIGINS
from mltrainer.trust.provenance import Dataset

KIND = "alternative macro"  # by its last word the rules of macro series are asked


@dataclass(frozen=True)
class Alternative:
    """One alternative source; its terms and rights stand in the row of `provenance.SOURCES` of the same id.

    Attributes
    ----------
    package, path : where its file lies; its sha256 is pinned by the gate.
    low, high : between which every value lies, in `unit`.
    parse : bytes of the file -> a table of `schema`.
    note : what its keepers say of it.
    """

    id: str
    package: str
    path: str
    unit: str
    low: float
    high: float
    parse: Callable[[bytes], pd.DataFrame]
    note: str

    def load(self) -> Dataset:
        """Read the file where it was installed and have the gate admit it, then ask the rules of quality."""
        from mltrainer.data.quality.check import judge  # it reads bars of the market, which stands above

        data = gate.admit(
            self.id,
            name=self.id,
            kind=KIND,
            endpoint=f"package:{self.package}/{self.path}",
            parameters={"series": self.id},
            body=packaged_bytes(self.package, self.path),
            parse=self.parse,
            note=f"{self.note}, {self.unit}; {ORIGINS[self.id].notice}",
        )
        errors = [f for f in judge(data).findings if f.severity == "error"]
        if errors:
            raise BadInput(f"{self.id} breaks rule {errors[0].rule}: {errors[0].message}; {errors[0].remedy}")
        return data


@cache
def schema(low: float, high: float) -> Any:
    """What a loader must give (pandera): one row a period and no other columns, each with the day it was known.

    `period` is the first day a value describes, `until` the last, `known_at` the first day on which anybody could know
    it, later than `until`.
    """
    import pandera.pandas as pa  # takes a fifth of a second, and only who asks for alternative data pays it

    day = pa.Column(checks=pa.Check(pd.api.types.is_datetime64_dtype, error="a column of days"))
    late = pa.Check(lambda t: t["known_at"] > t["until"], error="known_at after the last day of the period")
    ends = pa.Check(lambda t: t["until"] >= t["period"], error="until not before the period")
    value = pa.Column(float, pa.Check.in_range(low, high))
    columns = {"period": day, "until": day, "value": value, "known_at": day}
    return pa.DataFrameSchema(columns, checks=[late, ends], strict=True, unique=["period", "known_at"])


def checked(table: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    """Observations as macro series have them, by `period` with `value` and `available`, of a table of `schema`."""
    from pandera.errors import SchemaErrors

    try:
        schema(low, high).validate(table, lazy=True)
    except SchemaErrors as errors:
        case = errors.failure_cases.iloc[0]
        raise BadInput(
            f"the table of a source breaks its schema: {case['check']} ({case['failure_case']!s:.60})"
        ) from None
    frame = pd.DataFrame(
        {"value": table["value"].to_numpy(), "available": table["known_at"].dt.as_unit("s").to_numpy()}
    )
    return frame.set_index(pd.DatetimeIndex(table["period"], name="period").as_unit("s"))


PUBLISHED = 10  # day of the next month; the bureau publishes in its first days


def parse_elnino(body: bytes) -> pd.DataFrame:
    """Monthly sea surface temperature of a table with a row for each year; known on the 10th of the next month."""
    wide = pd.read_csv(io.BytesIO(body)).set_index("YEAR")
    months = pd.period_range(f"{wide.index[0]}-01", periods=wide.size, freq="M")
    table = pd.DataFrame(
        {
            "period": months.start_time,
            "until": months.end_time.normalize(),
            "value": wide.to_numpy(float).ravel(),
            "known_at": (months + 1).start_time + pd.Timedelta(days=PUBLISHED - 1),
        }
    )
    return checked(table, low=15.0, high=35.0)


SOURCES: dict[str, Alternative] = {
    row.id: row
    for row in (
        Alternative(
            id="elnino",
            package="statsmodels",
            path="datasets/elnino/elnino.csv",
            unit="degrees Celsius",
            low=15.0,
            high=35.0,
            parse=parse_elnino,
            note="sea surface temperature of the eastern Pacific (NOAA, Niño 1+2), monthly, as revised later",
        ),
    )
}


def alternative(name: str) -> Dataset:
    """One alternative source, sealed: observations by period with value and the day from which they may be used.

    Parameters
    ----------
    name : an id of `SOURCES` that MLTRAINER_ALTERNATIVE allows.

    Raises
    ------
    Refused
        It is not allowed, or its file is not the pinned one.
    """
    if name not in SOURCES:
        raise UnknownName.of("alternative source", name, SOURCES)
    return SOURCES[name].load()


def allowed() -> list[Dataset]:
    """Every alternative source that MLTRAINER_ALTERNATIVE allows."""
    return [alternative(name) for name in settings().alternatives]
