"""Alternative data: off unless it is named, by the same rules, known when it was published, and said on every page."""

import dataclasses
import re
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.cli.terminal import mode_line
from mltrainer.data import alternative as room
from mltrainer.data import sample
from mltrainer.errors import BadInput, Refused, UnknownName
from mltrainer.evaluation import lookahead
from mltrainer.features import alternative as features
from mltrainer.models import catalog
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import SOURCES, notices

SPAN = {"start": "2006-01-03", "end": "2010-11-30"}


@pytest.fixture
def on(monkeypatch):
    monkeypatch.setenv("MLTRAINER_ALTERNATIVE", "elnino")


def test_without_the_switch_it_is_refused_in_one_line_and_no_matrix_has_it(home):
    with pytest.raises(Refused, match=r"off by default.*; set MLTRAINER_ALTERNATIVE=elnino to allow it$") as error:
        mt.alternative("elnino")
    assert "\n" not in str(error.value)
    matrix = mt.matrix("MSFT", **SPAN)
    assert not [c for c in matrix.X if c.startswith("alt_")]
    assert matrix.notes == []


def test_what_was_made_of_it_is_refused_once_it_is_no_longer_allowed(on, monkeypatch):
    matrix, data = mt.matrix("MSFT", **SPAN), mt.alternative("elnino")
    monkeypatch.setenv("MLTRAINER_ALTERNATIVE", "")
    with pytest.raises(Refused, match="MLTRAINER_ALTERNATIVE=elnino"):
        mt.evaluate("RidgeRegression", matrix)
    with pytest.raises(Refused, match="MLTRAINER_ALTERNATIVE=elnino"):
        data.window("2000-01-01")


def test_it_is_as_its_keepers_have_it_with_terms_rights_and_the_day_it_was_known(on):
    data = mt.alternative("elnino")
    assert len(data.frame) == 61 * 12
    assert data.frame.loc["1950-01-01", "value"] == 23.11  # the first cell of the file
    assert data.frame.loc["2010-12-01", "value"] == 22.07  # and the last
    assert str(data.frame.loc["2010-12-01", "available"].date()) == "2011-01-10"
    assert data.provenance.terms == SOURCES["elnino"].terms
    assert SOURCES["elnino"].rights
    assert SOURCES["elnino"].alternative
    assert mt.quality(data).ok
    with pytest.raises(UnknownName, match="close: elnino"):
        mt.alternative("elninjo")


def test_it_is_no_data_of_mode_replay(on, monkeypatch):
    """What a provider's replay says stands alone: nothing that is really of somebody stands beside it."""
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    with pytest.raises(Refused, match="'elnino' is no data of mode replay, and modes are never mixed"):
        mt.alternative("elnino")
    assert [entry.kind for entry in audit.entries()] == ["mistake"]


def test_a_tampered_file_is_refused(on, monkeypatch):
    body = sample.packaged_bytes("statsmodels", "datasets/elnino/elnino.csv").replace(b"23.110", b"23.120", 1)
    monkeypatch.setattr(room, "packaged_bytes", lambda *_: body)
    with pytest.raises(Refused, match="not a pinned packaged file"):
        mt.alternative("elnino")


def test_a_pinned_file_with_a_value_that_cannot_be_is_not_used(on, monkeypatch):
    """All of 60 years lies within two degrees, and one month ten above: within the schema, and a slip all the same."""
    years = [[year, *(20.0 + 0.1 * ((year + month) % 20) for month in range(12))] for year in range(1950, 2011)]
    years[30][6] = 31.0
    lines = ["YEAR,JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC", *(",".join(map(str, row)) for row in years)]
    body = "\n".join(lines).encode()
    monkeypatch.setitem(gate.PINS, sha256(body).hexdigest(), "a file of this test")
    monkeypatch.setattr(room, "packaged_bytes", lambda *_: body)
    with pytest.raises(BadInput, match=r"^elnino breaks rule spike: .*; look for a digit or a unit"):
        mt.alternative("elnino")


def test_every_alternative_source_has_its_row_of_terms_and_its_features():
    assert {s.id for s in SOURCES.values() if s.alternative} == set(room.SOURCES)
    assert {row.series[0] for row in features.ALTERNATIVE} == set(room.SOURCES)
    for source in (s for s in SOURCES.values() if s.alternative):
        assert source.notice.startswith("ALTERNATIVE: ")
        assert source.terms
        assert source.rights
        assert not source.live
    assert all(row.name.startswith(features.PREFIX) for row in features.ALTERNATIVE)


# --- point in time --------------------------------------------------------------------------------------------


def test_a_value_is_not_seen_before_the_day_it_was_known(on):
    column = mt.matrix("MSFT", **SPAN).X["alt_elnino_yoy"]
    frame = mt.alternative("elnino").frame
    change = frame["value"] - frame["value"].shift(12)
    assert column["2008-02-08"] == pytest.approx(change["2007-12-01"])  # a Friday: January is known on the 10th
    assert column["2008-02-11"] == pytest.approx(change["2008-01-01"])  # the Monday after
    for day, value in column.items():
        known = frame.index[frame["available"] <= day][-1]
        assert value == pytest.approx(change[known])


def test_late_values_that_are_rewritten_move_nothing_before_their_known_at(on):
    matrix = mt.matrix("MSFT", **SPAN)
    assert lookahead.knows_sources(matrix)
    cut = 700
    other, day = lookahead.another(matrix, cut), matrix.X.index[cut]
    assert not list(lookahead.moves(matrix.X, other.X, day, how="another"))
    assert not np.array_equal(matrix.X["alt_elnino_yoy"][cut + 60 :], other.X["alt_elnino_yoy"][cut + 60 :])


def test_a_value_published_late_is_seen_late():
    days = pd.bdate_range("2020-01-01", "2021-06-30")
    months = pd.date_range("2019-01-01", periods=30, freq="MS")
    frame = pd.DataFrame({"value": np.arange(30.0), "available": months + pd.Timedelta(days=40)}, months)
    late = frame.copy()
    late.loc["2020-06-01", "available"] += pd.Timedelta(days=15)
    on_time, delayed = (features.columns({"elnino": f}, days)["alt_elnino_yoy"] for f in (frame, late))
    moved = on_time.index[~(on_time.eq(delayed) | (on_time.isna() & delayed.isna()))]
    assert moved.empty  # each month adds the same twelve: so it is by level that the delay shows
    late.loc["2020-06-01", "value"] += 5.0
    frame.loc["2020-06-01", "value"] += 5.0
    on_time, delayed = (features.columns({"elnino": f}, days)["alt_elnino_yoy"] for f in (frame, late))
    first = [s.index[s == 17.0][0] for s in (on_time, delayed)]
    assert [str(d.date()) for d in first] == ["2020-07-13", "2020-07-27"]  # 11 and 26 July are on weekends


# --- the schema -----------------------------------------------------------------------------------------------


def table(**changes):
    months = pd.period_range("2020-01", periods=3, freq="M")
    known = (months + 1).start_time + pd.Timedelta(days=9)
    columns = {"period": months.start_time, "until": months.end_time.normalize(), "value": [20.0, 21.0, 22.0]}
    return pd.DataFrame(columns | {"known_at": known} | changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"known_at": pd.period_range("2020-01", periods=3, freq="M").start_time}, "known_at after the last day"),
        ({"until": pd.to_datetime(["2019-12-31", "2020-01-31", "2020-02-29"])}, "until not before the period"),
        ({"value": [20.0, 99.0, 22.0]}, "in_range"),
        ({"value": [20.0, np.nan, 22.0]}, "nullable"),
        ({"value": ["a", "b", "c"]}, "dtype|in_range"),
        ({"period": pd.to_datetime(["2020-01-01"] * 3), "known_at": pd.to_datetime(["2020-05-01"] * 3)}, "unique"),
        ({"extra": 1.0}, "column_in_schema"),
        ({"known_at": "2020-05-01"}, "a column of days"),
    ],
)
def test_a_table_that_breaks_its_schema_is_refused(changes, why):
    with pytest.raises(BadInput, match=why) as error:
        room.checked(table(**changes), 15.0, 35.0)
    assert "\n" not in str(error.value)


def test_a_table_of_the_schema_is_let_through():
    frame = room.checked(table(), 15.0, 35.0)
    assert frame["available"].dt.day.to_list() == [10, 10, 10]
    assert frame["value"].to_list() == [20.0, 21.0, 22.0]


# --- what is said ---------------------------------------------------------------------------------------------


def test_every_result_and_every_page_says_so(on):
    matrix = mt.matrix("MSFT", **SPAN)
    assert "elnino" in matrix.provenance.source.split("+")
    assert notices([matrix.provenance.note]) == [SOURCES["elnino"].notice]
    e = mt.evaluate("RidgeRegression", matrix)
    assert "ALTERNATIVE data: elnino" in e.meta["settings"]
    assert "ALTERNATIVE data: elnino" in mt.leaderboard(e).rows.loc[0, "settings"]
    plain = dataclasses.replace(matrix, X=matrix.X.drop(columns="alt_elnino_yoy"))
    assert plain.notes == []


@pytest.mark.slow
def test_a_report_names_the_source_on_its_pages(on, tmp_path, monkeypatch):
    one = dataclasses.replace(catalog.FAMILIES["neighbors"], specs=catalog.FAMILIES["neighbors"].specs[:1])
    monkeypatch.setitem(catalog.FAMILIES, "neighbors", one)
    run = mt.report(["neighbors"], ["MSFT"], out=tmp_path, jobs=1, validate=False, progress=False, **SPAN)
    pages = list(run.path.glob("*.html"))
    assert len(pages) > 1
    for page in pages:
        text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
        assert "with ALTERNATIVE data of elnino" in text, page.name
    assert SOURCES["elnino"].notice in (run.path / "index.html").read_text(encoding="utf-8")


def test_the_terminal_says_so_beside_the_mode(on, monkeypatch):
    assert mode_line().endswith("with ALTERNATIVE data of elnino.")
    monkeypatch.setenv("MLTRAINER_ALTERNATIVE", "")
    assert "ALTERNATIVE" not in mode_line()
