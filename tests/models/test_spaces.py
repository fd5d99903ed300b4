"""Every method says what of it can be tuned, or why nothing can; every setting it names is one of the estimator's."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.errors import BadInput
from mltrainer.models import catalog
from mltrainer.models.spaces import SPACES, Knob, candidate, label, own, space

ROWS = catalog.every()
TUNABLE = [s for s in ROWS if not isinstance(SPACES.get(s.name, SPACES.get(s.method.key)), str)]
FIXED = [s for s in ROWS if s not in TUNABLE]
BY_ITSELF = {"RidgeCV", "LassoCV_walkforward", "ElasticNetCV_walkforward", "LassoLarsIC_bic"}
points = st.floats(0, 1)


def test_every_method_has_a_row_and_every_row_a_method_or_an_entry():
    assert {s.method.key for s in ROWS} <= set(SPACES)
    assert set(SPACES) <= {s.method.key for s in ROWS} | {s.name for s in ROWS}
    assert len(TUNABLE) > 90


@pytest.mark.parametrize("spec", TUNABLE, ids=lambda s: s.name)
def test_an_entry_takes_the_settings_its_space_names(spec):
    if spec.name in BY_ITSELF:
        with pytest.raises(BadInput, match="chooses by itself on the train rows; tune "):
            space(spec)
        return
    knobs = space(spec)
    assert len({label(path) for path in knobs}) == len(knobs), "two settings would read alike"
    low, high = ({path: knob.at(u) for path, knob in knobs.items()} for u in (0.0, 1.0))
    other = candidate(spec, low)
    assert other.identity() != candidate(spec, high).identity()
    assert other.name.startswith(f"{spec.name}(")
    assert (other.family, other.method, other.columns, other.max_train_rows) == (
        spec.family, spec.method, spec.columns, spec.max_train_rows,
    )  # fmt: skip
    if spec.available:
        built = other.build()
        assert {path: built.get_params()[path] for path in low} == low
        assert pickle.loads(pickle.dumps(other)).identity() == other.identity()  # workers are sent it


def test_the_rows_of_the_catalog_are_left_as_they_are():
    before = {s.name: s.identity() for s in ROWS}
    for spec in TUNABLE:
        if spec.name not in BY_ITSELF:
            candidate(spec, {path: knob.at(0.3) for path, knob in space(spec).items()})
    assert {s.name: s.identity() for s in ROWS} == before


@pytest.mark.parametrize("spec", FIXED, ids=lambda s: s.name)
def test_a_method_without_settings_says_why_in_one_line(spec):
    with pytest.raises(BadInput, match=f"{spec.name} has nothing to tune: ") as error:
        space(spec)
    assert "\n" not in str(error.value)


def test_every_knob_of_a_row_is_a_setting_of_some_entry_with_that_row():
    for key, row in SPACES.items():
        if isinstance(row, str):
            continue
        entries = [s for s in TUNABLE if s.name == key or (s.method.key == key and s.name not in SPACES)]
        used = {k.name for s in entries if s.name not in BY_ITSELF for k in space(s).values()}
        assert used == {k.name for k in row}, key


def test_what_the_catalog_chose_lies_within_the_bounds():
    outside = {}
    for spec in TUNABLE:
        if spec.name in BY_ITSELF:
            continue
        for (path, knob), value in zip(space(spec).items(), own(spec).values(), strict=True):
            if knob.choices:
                assert value in knob.choices
            elif isinstance(value, int | float) and not knob.low <= value <= knob.high:
                outside[f"{spec.name}.{label(path)}"] = value
    assert outside == {}


@given(points, points, st.booleans())
def test_a_knob_stays_in_its_bounds_and_never_turns_back(u, v, log):
    for knob in (Knob("a", 0.001, 50.0, log=log), Knob("b", 1, 30, log=log, whole=True)):
        one, other = sorted((u, v))
        assert knob.low <= knob.at(one) <= knob.at(other) <= knob.high
    assert isinstance(Knob("b", 1, 30, whole=True).at(u), int)


def test_a_whole_knob_reaches_both_ends_and_gives_each_value_an_equal_share():
    reached = [Knob("k", 1, 4, whole=True).at(i / 100) for i in range(101)]
    assert [reached.count(k) for k in (1, 2, 3, 4)] == [25, 25, 25, 26]
    assert {Knob("w", choices=("a", None)).at(u) for u in (0.0, 0.49, 0.5, 1.0)} == {"a", None}
