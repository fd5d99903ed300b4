"""Equal content has an equal fingerprint, different content has not, and no key gets into a provenance."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.errors import BadInput, Tampered
from mltrainer.trust.provenance import SOURCES, Dataset, Provenance, Sealed, canonical, fingerprint, plain

CELLS = st.floats(allow_nan=True, allow_infinity=True, width=64)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    values = [[draw(CELLS) for _ in range(columns)] for _ in range(rows)]
    names = draw(st.lists(st.text(max_size=5), min_size=columns, max_size=columns, unique=True))
    index = pd.date_range("2020-01-01", periods=rows, name="session")
    return pd.DataFrame(values, index=index, columns=pd.Index(names, dtype="str"), dtype=float)


@given(frames())
def test_a_copy_has_the_same_fingerprint(frame: pd.DataFrame) -> None:
    columns = {name: frame[name].to_numpy(copy=True) for name in frame}
    rebuilt = pd.DataFrame(columns, index=frame.index.copy(), columns=frame.columns)
    assert fingerprint(rebuilt) == fingerprint(frame)
    assert fingerprint(pickle.loads(pickle.dumps(frame))) == fingerprint(frame)


@given(frames(), st.data())
def test_any_changed_cell_changes_it(frame: pd.DataFrame, data: st.DataObject) -> None:
    row, column = data.draw(st.integers(0, len(frame) - 1)), data.draw(st.integers(0, frame.shape[1] - 1))
    changed = frame.copy()
    changed.iloc[row, column] = data.draw(CELLS)
    assert (fingerprint(changed) == fingerprint(frame)) == changed.equals(frame)


@given(frames(), st.data())
def test_any_changed_index_entry_changes_it(frame: pd.DataFrame, data: st.DataObject) -> None:
    row, days = data.draw(st.integers(0, len(frame) - 1)), data.draw(st.integers(1, 9))
    stamps = frame.index.to_numpy(copy=True)
    stamps[row] += np.timedelta64(days, "D")
    assert fingerprint(frame.set_axis(pd.DatetimeIndex(stamps, name="session"))) != fingerprint(frame)
    assert fingerprint(frame.rename_axis("day")) != fingerprint(frame)


@given(frames(), st.data())
def test_any_changed_column_name_or_order_changes_it(frame: pd.DataFrame, data: st.DataObject) -> None:
    names = list(frame.columns)
    names[data.draw(st.integers(0, len(names) - 1))] += "x"
    assert fingerprint(frame.set_axis(pd.Index(names), axis=1)) != fingerprint(frame)
    order = data.draw(st.permutations(range(frame.shape[1])))
    moved = frame.iloc[:, list(order)]
    assert (fingerprint(moved) == fingerprint(frame)) == (list(order) == sorted(order))


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4), st.data())
def test_no_boundary_can_be_moved_between_parts(parts: list[str], data: st.DataObject) -> None:
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    other = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert (fingerprint(*other) == fingerprint(*parts)) == (other == parts)
    assert (fingerprint(*[p.encode() for p in other]) == fingerprint(*[p.encode() for p in parts])) == (other == parts)


def test_text_that_imitates_the_encoding_moves_no_boundary() -> None:
    for tag in ("str", "str:", "str:1:", ":1:", "tuple:1:1str:1:"):
        assert fingerprint(f"a{tag}", "b") != fingerprint("a", f"{tag}b")
        assert fingerprint(f"a{tag}".encode(), b"b") != fingerprint(b"a", f"{tag}b".encode())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.binary(), st.tuples, max_leaves=4))
def test_nesting_and_type_count(part: object) -> None:
    assert fingerprint(part) != fingerprint((part,)) != fingerprint(part, ())
    assert fingerprint(part) != fingerprint(repr(part))


def test_values_of_different_types_are_different() -> None:
    lookalikes: list[Any] = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        "None",
        (),
        {},
        (1,),
        {"1": 1},
        np.array([1]),
        np.array([1.0]),
    ]
    lookalikes += [
        np.array([[1.0]]),
        pd.Series([1.0]),
        pd.DataFrame([1.0]),
        pd.Index([1.0]),
        pd.Timestamp(1),
        float("nan"),
    ]
    assert len({fingerprint(value) for value in lookalikes}) == len(lookalikes)


def test_every_nan_is_the_same_nan_and_both_zeros_are_zero() -> None:
    quiet, loud = np.array([0x7FF8000000000000, 0xFFF8000000000001], dtype=np.uint64).view(float)
    assert fingerprint(np.array([quiet, 0.0])) == fingerprint(np.array([loud, -0.0]))
    assert fingerprint(float(quiet)) == fingerprint(float(loud))


def test_integers_too_large_for_a_float_are_told_apart() -> None:
    assert fingerprint(np.array([2**53])) != fingerprint(np.array([2**53 + 1]))


def test_the_unit_of_a_time_does_not_matter_and_its_zone_does() -> None:
    day = pd.date_range("2020-01-01", periods=3)
    assert len({fingerprint(day.as_unit(unit)) for unit in ("s", "ms", "us", "ns")}) == 1
    assert fingerprint(day) != fingerprint(day.tz_localize("UTC")) != fingerprint(day.tz_localize("America/New_York"))
    assert fingerprint(day.as_unit("ns")) != fingerprint(day.as_unit("ns") + pd.Timedelta(1, "ns"))


def test_the_end_of_time_at_fred_has_a_fingerprint() -> None:
    ends = [pd.DatetimeIndex([day]).as_unit("s") for day in ("9999-12-31", "9999-12-30")]
    assert fingerprint(ends[0]) != fingerprint(ends[1])


def test_text_is_the_same_text_in_either_column_type() -> None:
    words = ["a", None, "b"]
    assert fingerprint(pd.Series(words, dtype=object)) != fingerprint(pd.Series(["a", None, "c"], dtype=object))
    assert fingerprint(pd.Index(["a", "b"], dtype=object)) == fingerprint(pd.Index(["a", "b"], dtype="str"))


def test_layout_in_memory_does_not_matter() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert fingerprint(np.asfortranarray(array)) == fingerprint(array) == fingerprint(array.astype(">f8").astype("<f8"))
    assert fingerprint(array.T) != fingerprint(array) != fingerprint(array.reshape(4, 3))


def test_the_order_of_a_dict_does_not_matter() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})


def test_what_has_no_bytes_has_no_fingerprint() -> None:
    with pytest.raises(BadInput, match="type object have no fingerprint"):
        fingerprint(object())


def test_name_and_kind_are_part_of_a_dataset() -> None:
    frame = pd.DataFrame({"close": [1.0]}, index=pd.DatetimeIndex(["2020-01-01"], name="session"))
    prints = {Dataset(frame, *as_).fingerprint() for as_ in (("A", "bars"), ("B", "bars"), ("A", "macro"))}
    assert len(prints) == 3
    assert isinstance(Dataset(frame, "A", "bars"), Sealed)
    assert repr(Dataset(frame, "A", "bars")) == "<Dataset A bars, 1 x 1, 2020-01-01..2020-01-01, no provenance>"


# --- provenance -----------------------------------------------------------------------------------------------


def origin(**changes: Any) -> Provenance:
    fields: dict[str, Any] = {
        "source": "polygon",
        "name": "AAPL",
        "kind": "bars",
        "mode": "live",
        "endpoint": "/v2/aggs",
    }
    return Provenance(**{**fields, "content_sha256": "0" * 64, "terms": "t", **changes})


def test_provenance_reads_back_from_its_json() -> None:
    whole = origin(parameters={"to": "2020-01-01", "n": 5}, parents=("1" * 64,), http_status=200, note="é")
    assert Provenance.from_json(whole.to_json()) == whole
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert " " not in origin().to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"parents": 1}', '{"parents": [], "unknown": 1}'])
def test_other_json_is_no_provenance(text: str) -> None:
    with pytest.raises(Tampered, match="no provenance can be read"):
        Provenance.from_json(text)


@pytest.mark.parametrize(
    "name", ["apikey", "apiKey", "APIKEY", "api_key", "X-API-Key", "token", "access_token", "Authorization"]
)
def test_a_key_is_masked_on_entry(name: str) -> None:
    canary = "canary-4711"
    entered = origin(parameters={name: canary, "to": "2020"}, endpoint=f"https://host/path?{name}={canary}&to=2020")
    assert dict(entered.parameters) == {name: "***", "to": "2020"}
    assert entered.endpoint == f"https://host/path?{name}=***&to=2020"
    assert canary not in entered.to_json()
    assert canary not in replace(entered, parameters={name: canary}).to_json()


def test_canonical_json_refuses_what_json_does_not_know() -> None:
    assert canonical({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    for value in (float("nan"), float("inf"), object()):
        with pytest.raises(BadInput, match="canonical JSON"):
            canonical({"x": value})


def test_plain_makes_anything_fit_for_json() -> None:
    value = {"n": np.int64(3), "x": np.float64("nan"), "at": pd.Timestamp("2020-01-01"), 5: (1, {2})}
    assert plain(value) == {"n": 3, "x": "nan", "at": "2020-01-01 00:00:00", "5": [1, [2]]}


def test_the_sources_say_their_terms_and_fred_its_notice() -> None:
    assert {key: source.live for key, source in SOURCES.items()} == {
        "sample": False,
        "polygon": True,
        "fred": True,
        "replay": False,
        "elnino": False,
    }
    # the sentence that FRED's terms of use require on screen
    assert SOURCES["fred"].notice == (
        "This product uses the FRED® API but is not endorsed or certified by the Federal Reserve Bank of St. Louis."
    )
    assert "research only, never for live recommendations" in SOURCES["sample"].terms
