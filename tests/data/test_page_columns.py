"""Rows read by column say what `transport.parsed` says of the same body, or leave it to it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltrainer.data.providers import columns, transport
from mltrainer.errors import ProviderError

NAMES = ("v", "vw", "o", "c", "h", "l", "t", "n")
numbers = st.one_of(
    st.integers(0, 10**12), st.floats(1e-4, 1e12, allow_nan=False), st.decimals(0, 10**6, places=7).map(float)
)
tables = st.integers(1, 6).flatmap(
    lambda k: st.lists(st.lists(numbers, min_size=k, max_size=k), min_size=1, max_size=20)
)


def body(rows: list[dict[str, Any]], **more: object) -> bytes:
    return json.dumps({"ticker": "T", "results": rows, "status": "OK"} | more, separators=(",", ":")).encode()


@settings(max_examples=60, deadline=None)
@given(tables)
def test_columns_hold_the_numbers_of_the_rows_to_the_bit(table: list[list[float]]) -> None:
    rows = [dict(zip(NAMES, row, strict=False)) for row in table]
    sent = body(rows)
    found, expected = columns.parsed(sent), transport.parsed(sent)
    assert isinstance(found["results"], columns.Columns) or b"e" in sent.partition(b'"results"')[2].partition(b"]")[0]
    if isinstance(found["results"], columns.Columns):
        held = found["results"].by_name
        assert {name: values.tolist() for name, values in held.items()} == {
            name: [float(row[name]) for row in expected["results"]] for name in rows[0]
        }
        assert {k: v for k, v in found.items() if k != "results"} == {
            k: v for k, v in expected.items() if k != "results"
        }


OTHERS = {
    "another order": '{"a":1,"b":2},{"b":2,"a":1}',
    "another name": '{"a":1},{"b":1}',
    "one name more": '{"a":1},{"a":1,"b":2}',
    "a string": '{"a":1},{"a":"1"}',
    "a null": '{"a":1},{"a":null}',
    "a sign": '{"a":1},{"a":-1}',
    "an exponent": '{"a":1},{"a":1e5}',
    "a space": '{"a":1}, {"a":1}',
    "a list": '{"a":1},{"a":[1]}',
    "a whole number that no float holds": '{"a":1},{"a":9007199254740993}',
    "nothing": "",
}


@pytest.mark.parametrize("rows", OTHERS)
def test_what_is_of_another_form_is_read_as_rows(rows: str) -> None:
    sent = ('{"results":[' + OTHERS[rows] + '],"status":"OK"}').encode()
    assert columns.parsed(sent) == transport.parsed(sent)


@pytest.mark.parametrize("number", ["007", "1.", ".5", "1.2.3", "", "00", "01.5", "."])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_number_that_json_does_not_have_is_refused(number: str, place: int) -> None:
    values = ["1.5"] * 3
    values[place] = number
    rows = ",".join(f'{{"a":1,"b":{value}}}' for value in values)
    with pytest.raises(ProviderError, match="no JSON"):
        columns.parsed(f'{{"results":[{rows}]}}'.encode())


@pytest.mark.parametrize(
    "number", ["0", "0.0", "0.5", "10", "100.25", "9007199254740991", "0.1000000000000000055511151"]
)
def test_a_number_that_json_has_is_read_as_python_reads_it(number: str) -> None:
    found = columns.parsed(f'{{"results":[{{"a":{number},"b":1}},{{"a":1,"b":{number}}}]}}'.encode())["results"]
    assert found.by_name["a"][0] == found.by_name["b"][1] == float(number)


def test_a_name_that_stands_twice_in_a_row_is_refused() -> None:
    with pytest.raises(ProviderError, match="twice"):
        columns.parsed(b'{"results":[{"a":1,"a":2},{"a":1,"a":2}]}')


def test_a_name_that_stands_twice_beside_the_rows_is_refused() -> None:
    with pytest.raises(ProviderError, match="twice"):
        columns.parsed(b'{"results":[{"a":1}],"results":[]}')


@pytest.mark.parametrize(
    "sent", [b'{"of":{"results":[{"a":1}]},"results":[]}', b'{"of":{"results":[{"a":1}]}}', b'[{"results":[{"a":1}]}]']
)
def test_rows_of_an_object_within_are_not_those_of_the_document(sent: bytes) -> None:
    assert columns.parsed(sent) == transport.parsed(sent)


def test_columns_are_equal_where_names_and_numbers_are() -> None:
    one, other = (columns.parsed(body([{"a": 1, "b": n}]))["results"] for n in (2, 3))
    assert (one == one, one == other, one == [{"a": 1, "b": 2}]) == (True, False, False)
    assert len(one) == 1
    assert np.array_equal(one.by_name["b"], [2.0])
