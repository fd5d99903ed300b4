"""The page of a map: what is forecastable of a ticker or a universe, one part a method."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import pandas as pd

from mltrainer import store, views
from mltrainer.errors import BadInput
from mltrainer.evaluation import skill
from mltrainer.evaluation.forecastable import Map
from mltrainer.evaluation.significance import SIZE
from mltrainer.features.targets import target
from mltrainer.reports.family import Html
from mltrainer.reports.index import called, origins
from mltrainer.reports.pages import page
from mltrainer.settings import settings
from mltrainer.trust import audit


class MapPage:
    """What a map says, in parts that stand in a notebook as on a page.

    Parameters
    ----------
    found : the map.
    links : target -> where its own report lies, if there is one.
    """

    def __init__(self, found: Map, links: Mapping[str, str] | None = None) -> None:
        if not found.matrices:
            raise BadInput(f"this map is empty, so it has no page: {found.rows['status'].iloc[0]}")
        self.map, self.links = found, dict(links or {})

    @property
    def title(self) -> str:
        """The question."""
        return f"What is forecastable of {called(self.map.matrices[0])}?"

    @property
    def as_of(self) -> str:
        """Last session of the data, YYYY-MM-DD."""
        return str(max(m.X.index.unique(0)[-1] for m in self.map.matrices).date())

    def opening(self) -> Html:
        """Mode, question, the answer in one sentence, the first figures."""
        return Html(
            f"{views.banner(settings().data_mode, self.as_of)}<h1>{escape(self.title)}</h1>"
            f'<p class="lede"><b>What to believe.</b> {escape(self.map.sentence())}</p>'
            + views.figures(self._headline())
        )

    def _headline(self) -> list[tuple[str, str, str]]:
        rows, luck = self.map.rows, self.map.board.luck
        ran = rows[rows["status"] == "ok"]
        models = self.map.board.rows["name"].nunique()
        shown = int(ran["verdict"].map(skill.shows).sum())
        days = self.map.matrices[0].X.index.unique(0)
        most = ran["explained"].max()
        apart = f"as good as {luck['effective']:.0f} independent ones, by their joint bootstrap"
        return [
            ("Cells judged", f"{len(ran)} of {len(rows)}", f"targets by horizons, {models} models in each"),
            ("Cells with evidence", str(shown), f"a model adds to the best baseline, p at most {SIZE:g} among all"),
            ("Most explained, %", views.percent(most), "by a plain forecast, of what the mean of the past leaves"),
            ("Trials counted", f"{int(luck['trials'])}", apart),
            ("Sessions", f"{len(days):,}", f"{days[0].date()} to {self.as_of}"),
        ]

    def cells(self) -> Html:
        """Targets by horizons."""
        titles = {name: target(name).title for name in dict.fromkeys(self.map.rows["target"])}
        return Html(views.heat(self.map.rows, titles, self.links) + views.asides([READING]))

    def numbers(self) -> Html:
        """A row for each cell."""
        ran = self.map.rows[self.map.rows["status"] == "ok"]
        return Html(views.table(_columns(ran, CELL), list(CELL.values())))

    def models(self) -> Html:
        """Every model of every cell; of several tickers the one with the strongest evidence."""
        board = self.map.board.rows
        ran = board[board["status"] == "ok"].drop_duplicates(["target", "horizon", "name"])
        rows = _columns(ran.sort_values(["target", "horizon"], kind="stable"), MODEL)
        table = views.table(rows, list(MODEL.values()))
        return Html(f"<details><summary>{len(rows)} results, the strongest of each model</summary>{table}</details>")

    def provenance(self) -> Html:
        """Where every number came from, under which terms, and the end of the audit trail."""
        head = f'<p class="quiet">Audit head <code>{escape(str(audit.head()))}</code></p>'
        return Html(f"{origins(self.map.matrices)}{head}")

    def html(self) -> str:
        """All of it as one page that opens by itself."""
        parts = [("", self.opening()), ("Targets by horizons", self.cells()), ("In numbers", self.numbers()),
                 ("Every model", self.models()), ("Where every number comes from", self.provenance())]  # fmt: skip
        body = "".join(f"{f'<h2>{head}</h2>' if head else ''}{part.text}" for head, part in parts)
        return page("family", title=self.title, body=body, of_run=False)


def write(to: Path, found: Map, links: Mapping[str, str] | None = None) -> Path:
    """Write the page of a map to one file; `links` as for `MapPage`."""
    if not to.parent.is_dir():
        raise BadInput(f"{str(to.parent)[:80]!r} is no folder; name a file in one that is there")
    store.write_atomic(to, MapPage(found, links).html())
    return to


READING = (
    "A cell: the best plain forecast, chosen with hindsight, and the share it explains of what the mean of the past "
    "leaves (the darker, the more); then the model with the strongest evidence, the share of that forecast's loss it "
    "saves with a 95 % interval, below zero where it is worse; and the verdict among all trials."
)
CELL = {  # column -> head; what ends in % is shown times 100
    "target": "Target", "horizon": "Sessions", "baseline": "Best baseline", "baseline_loss": "Its loss",
    "explained": "Explains, %", "model": "Best model", "ticker": "Ticker", "gain": "Saves, %", "gain_low": "from, %",
    "gain_high": "to, %", "p": "p", "verdict": "Verdict",
}  # fmt: skip
MODEL = {
    "target": "Target", "horizon": "Sessions", "name": "Model", "ticker": "Ticker", "gain": "Saves, %", "gain_t": "t",
    "ic": "IC", "p_knows": "p, knows", "p_pays": "p, pays", "verdict": "Verdict",
}  # fmt: skip


def _columns(frame: pd.DataFrame, heads: Mapping[str, str]) -> list[list[object]]:
    """Rows of these columns as a page shows them."""
    shown: dict[str, Iterable[object]] = {
        c: frame[c].astype(float) * 100 if head.endswith("%") else frame[c] for c, head in heads.items()
    }
    shown |= {"target": [target(name).title for name in frame["target"]], "horizon": frame["horizon"].astype(str)}
    return [list(row) for row in zip(*shown.values(), strict=True)]
