"""Networks over windows: each learns what the mean cannot, by its paper's arithmetic, and sees nothing later."""

from math import floor, sqrt

import numpy as np
import pandas as pd
import pytest

from mltrainer.checks.attest import attest_one
from mltrainer.errors import BadInput, NotEnoughHistory, UnknownName
from mltrainer.evaluation import study
from mltrainer.evaluation.lifecycle import Model
from mltrainer.evaluation.lookahead import forecast_moves
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.scaling import lagged
from mltrainer.evaluation.splits import WalkForward
from mltrainer.evaluation.walk import out_of_sample
from mltrainer.models import catalog, deep, sequences
from mltrainer.models.sequences import SequenceForecaster, compiled, glorot, patches, receptive_field

needed = pytest.mark.skipif(not deep.SPECS[0].available, reason="the extra 'deep' is not installed")
NAMES = [row.name for row in deep.SPECS]
CUT = 1_500


@pytest.fixture(scope="module")
def lead():
    """A label that the columns of five sessions ago decide, and neither the mean nor the newest row."""
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(CUT + 300, 6))
    y = 0.5 * rng.normal(size=len(columns))
    y[5:] += 0.7 * columns[:-5, 0] - 0.7 * columns[:-5, 1]
    return lagged(pd.DataFrame(columns), deep.WINDOW), y


@pytest.mark.slow
@needed
@pytest.mark.parametrize("name", NAMES)
def test_each_learns_a_planted_lag_which_neither_mean_nor_newest_row_knows_to_the_same_bits(name, lead):
    X, y = lead
    model = catalog.spec(name).build().set_params(epochs=12, learning_rate=2e-3).fit(X[:CUT], y[:CUT])
    said, came = model.predict(X[CUT:]), y[CUT:]
    assert np.corrcoef(said, came)[0, 1] > 0.4
    assert np.mean((came - said) ** 2) < 0.9 * np.mean((came - y[:CUT].mean()) ** 2)
    newest = np.column_stack([np.ones(len(X)), X[:, -6:]])
    blind = newest[CUT:] @ np.linalg.lstsq(newest[:CUT], y[:CUT], rcond=None)[0]
    assert abs(np.corrcoef(blind, came)[0, 1]) < 0.15
    before = compiled.cache_info().misses
    again = catalog.spec(name).build().set_params(epochs=12, learning_rate=2e-3).fit(X[:CUT], y[:CUT])
    assert np.array_equal(again.predict(X[CUT:]), said)
    assert compiled.cache_info().misses == before  # one compilation serves all folds
    assert np.array_equal(model.predict(X[CUT : CUT + 7]), said[:7])  # a row is forecast on its own


@pytest.mark.slow
@needed
def test_another_seed_is_another_network_and_an_untrained_one_says_the_mean(lead):
    X, y = lead
    small = {"network": "tide", "units": 4, "window": deep.WINDOW}
    one, two = (SequenceForecaster(**small, epochs=1, random_state=s).fit(X[:200], y[:200]) for s in (0, 1))
    assert not np.allclose(one.predict(X[:9]), two.predict(X[:9]))
    none = SequenceForecaster(**small, epochs=0).fit(X[:200], y[:200])
    assert none.predict(X[:9]) == pytest.approx(np.full(9, y[:200].mean()))


# --- arithmetic of the papers ---------------------------------------------------------------------------------


def given(network, shape, weights=None, **how):
    """An untrained network whose last unit is not zero, as a function of windows."""
    model = compiled(network, shape, how.get("units", 8), how.get("depth", 1), 1e-3, 0).model
    rng = np.random.default_rng(1)
    for number, v in enumerate(model.weights):
        v.assign(rng.normal(size=v.shape) if weights is None else weights[number])
    return lambda X: np.asarray(model(np.asarray(X, "float32")))[:, 0]


@pytest.mark.slow
@needed
@pytest.mark.parametrize(("depth", "sees"), [(2, 13), (3, 29)])  # 1 + 2 (3 - 1) (2^depth - 1)
def test_a_tcn_sees_as_many_sessions_as_its_dilations_reach_and_no_more(depth, sees):
    assert receptive_field(depth) == sees
    tcn, X = given("tcn", (32, 2), depth=depth), np.random.default_rng(0).normal(size=(1, 32, 2))
    moved = []
    for back in range(32):
        other = X.copy()
        other[:, -1 - back] += 10.0
        moved.append(tcn(other)[0] != tcn(X)[0])
    assert not any(moved[sees:])
    assert sum(moved[:sees]) > sees // 2  # a unit may be shut at one of them
    assert any(moved[sees - 3 : sees])


@needed
def test_a_tcn_of_one_channel_is_two_dilated_causal_convolutions_and_a_residual_by_hand():
    first, second = [0.5, -1.0, 2.0], [1.0, 0.25, -0.5]  # oldest tap first
    x = np.array([1.0, -2.0, 3.0, 0.5, 4.0])

    def conv(x, taps):
        z = np.concatenate([np.zeros(2), x])
        return np.maximum([sum(t * z[i + k] for k, t in enumerate(taps)) + 0.1 for i in range(len(x))], 0.0)

    expected = 3.0 * max(0.0, x[-1] + conv(conv(x, first), second)[-1]) - 1.0
    kernels = [np.reshape(taps, (3, 1, 1)) for taps in (first, second)]
    weights = [kernels[0], [0.1], kernels[1], [0.1], [[3.0]], [-1.0]]
    assert given("tcn", (5, 1), weights, units=1)(x.reshape(1, 5, 1))[0] == pytest.approx(expected, rel=1e-6)


@needed
def test_a_gru_is_the_recursion_of_cho_and_others_by_hand():
    shape, units = (4, 2), 3
    model = compiled("gru", shape, units, 1, 1e-3, 0).model
    rng = np.random.default_rng(2)
    W, U, b, w, w0 = (0.5 * rng.normal(size=v.shape) for v in model.weights)
    X, h = rng.normal(size=shape), np.zeros(units)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for x in X:
        (z, r, n), (uz, ur, un) = np.split(x @ W + b[0], 3), np.split(h @ U + b[1], 3)
        keep = sigmoid(z + uz)
        h = keep * h + (1 - keep) * np.tanh(n + sigmoid(r + ur) * un)
    assert given("gru", shape, [W, U, b, w, w0], units=units)(X[None])[0] == pytest.approx((h @ w + w0)[0], rel=1e-5)


@pytest.mark.parametrize(("window", "length", "stride"), [(32, 8, 4), (512, 16, 8), (336, 16, 8), (20, 8, 4)])
def test_patches_are_as_many_as_in_nie_and_others_and_cover_the_window(window, length, stride):
    """Section 3.1: N = floor((L - P) / S) + 2; PatchTST/64 is L = 512, P = 16, S = 8, and PatchTST/42 L = 336."""
    cut = patches(window, length, stride)
    assert len(cut) == floor((window - length) / stride) + 2
    assert {n for patch in cut for n in patch} == set(range(window))
    if length == 16:
        assert len(cut) == {512: 64, 336: 42}[window]


@pytest.mark.slow
@needed
def test_patchtst_reads_each_column_by_its_shape_alone_and_shares_its_weights():
    X = np.random.default_rng(0).normal(size=(1, 32, 3))
    net = given("patchtst", (32, 3))
    assert net(5.0 * X + [[[7.0, -3.0, 0.0]]])[0] == pytest.approx(net(X)[0], rel=1e-3)
    weights = sequences.compiled("patchtst", (32, 3), 8, 1, 1e-3, 0).model.weights
    shared = [v.shape for v in sequences.compiled("patchtst", (32, 1), 8, 1, 1e-3, 0).model.weights]
    assert [v.shape for v in weights][:-2] == shared[:-2]  # only the last unit grows with the columns


def test_first_weights_have_the_variance_of_glorot_and_bengio():
    W = glorot((3, 40, 60), np.random.default_rng(0))
    assert W.std() == pytest.approx(sqrt(2 / (3 * (40 + 60))), rel=0.03)


# --- windows --------------------------------------------------------------------------------------------------


def test_windows_hold_the_rows_up_to_each_of_its_own_ticker_and_where_there_are_none_its_first():
    days = pd.to_datetime(["2020-01-02", "2020-01-03", "2020-01-06"])
    index = pd.MultiIndex.from_product([days, ["A", "B"]], names=["session", "ticker"])
    table = pd.DataFrame({"x": [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]}, index)
    assert lagged(table, 2).tolist() == [[1, 1], [10, 10], [1, 2], [10, 20], [2, 3], [20, 30]]
    assert lagged(table.xs("A", level="ticker"), 3).tolist() == [[1, 1, 1], [1, 1, 2], [1, 2, 3]]


def test_later_rows_move_no_window():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)))
    other = X.copy()
    other.iloc[30:] = 9.0
    assert np.array_equal(lagged(X, 8)[:30], lagged(other, 8)[:30])


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("sequences")))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield study.matrix("MSFT", start="2005-01-03", end="2009-12-31")


QUICK = Protocol(split=WalkForward(folds=3))


@needed
def test_the_future_moves_no_forecast_of_a_walk(matrix):
    assert forecast_moves(catalog.spec("TiDE"), matrix, QUICK) == ""


@needed
def test_tide_is_what_its_card_says(matrix):
    shown = attest_one("TiDE", matrix)
    assert shown.genuine, shown.findings


@needed
def test_a_panel_has_one_network_or_one_for_each_name(matrix, monkeypatch, tmp_path):
    both = [study.matrix(t, start="2005-01-03", end="2008-12-31") for t in ("AAPL", "MSFT")]
    panel, row = study.matrix(both), catalog.spec("GRU")
    pooled, meta = out_of_sample(row, panel, QUICK)
    alone, own = out_of_sample(row, panel, Protocol(split=WalkForward(folds=3), panel="per-name"))
    single, _ = out_of_sample(row, both[1], QUICK)
    assert meta["panel"] == "one model of 2 tickers"
    assert own["panel"] == "one model for each of 2 tickers"
    mine = alone.xs("MSFT", level="ticker")["forecast"]
    assert np.allclose(mine, single["forecast"], rtol=1e-9)
    assert not np.allclose(mine, pooled.xs("MSFT", level="ticker")["forecast"])


@needed
def test_a_kept_network_says_the_same_and_refuses_a_matrix_with_less_than_a_window():
    matrix = study.matrix("MSFT", start="2005-01-03", end="2009-12-31")
    early = study.matrix("MSFT", start="2005-01-03", end="2008-06-30")
    result = Model("GRU").train(early)
    again = Model.load(result.save())
    assert again.predict(matrix).mean.equals(result.predict(matrix).mean)
    late = study.matrix("MSFT", start="2008-06-30", end="2009-12-31")
    with pytest.raises(NotEnoughHistory, match="reads 32 sessions at once, and this matrix has 1 of MSFT"):
        again.predict(late)


def test_what_holds_no_windows_is_refused_in_one_line():
    with pytest.raises(BadInput, match="holds no windows of 32 sessions"):
        SequenceForecaster().fit(np.zeros((100, 33)), np.zeros(100))
    with pytest.raises(NotEnoughHistory, match="at least 64"):
        SequenceForecaster().fit(np.zeros((63, 64)), np.zeros(63))
    with pytest.raises(UnknownName, match="no network is called 'rnn'"):
        SequenceForecaster("rnn").fit(np.zeros((100, 64)), np.zeros(100))
