"""The recurrent network: genuine, deterministic, compiled once, absent without its extra."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.models import networks
from mltrainer.models.networks import LstmForecaster
from mltrainer.models.series import SPECS

ROW = next(row for row in SPECS if row.name == "LSTM_simulation")
needed = pytest.mark.skipif(not ROW.available, reason="the extra 'deep' is not installed")


@pytest.fixture(scope="module")
def data(planted):
    named = planted.named
    columns = list(ROW.columns)
    return named.X[columns].to_numpy(), named.y, named.X_new[columns].to_numpy(), named.y_new


@pytest.fixture(scope="module")
def model(data):
    return ROW.build().fit(data[0], data[1])


@needed
def test_the_forecast_is_the_forward_pass_of_hochreiter_and_schmidhuber_by_hand(model, data):
    X, _, X_new, _ = data
    Z = np.clip((np.vstack([X, X_new]) - X.mean(0)) / X.std(0), -3, 3)
    W, U, b, w, w0 = (v.astype(float) for v in model.weights_)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for i in (0, 3, 200):
        h = c = np.zeros(16)
        for x in Z[len(X) + i - 19 : len(X) + i + 1]:
            enter, forget, new, leave = np.split(x @ W + h @ U + b, 4)
            c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(new)
            h = sigmoid(leave) * np.tanh(c)
        z = (h @ w + w0)[0]
        expected = (z * model.deviation_ + model.mean_) * X_new[i, 1]  # column 1 is the volatility known then
        assert model.predict(X_new)[i] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@needed
def test_a_planted_lead_is_found(model, data):
    assert np.corrcoef(model.predict(data[2]), data[3])[0, 1] > 0.4


@needed
def test_one_network_serves_all_folds_and_forgets_between_them(model, data):
    X, y, X_new, _ = data
    before = model.predict(X_new)
    compiled = networks.network.cache_info().misses
    other = ROW.build().fit(X[:500], -y[:500])
    assert not np.allclose(other.predict(X_new), before)
    assert np.array_equal(model.predict(X_new), before)  # its own weights, not those the network was left with
    assert np.array_equal(ROW.build().fit(X, y).predict(X_new), before)
    assert networks.network.cache_info().misses == compiled


@needed
def test_training_leaves_the_global_random_numbers_alone(data):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is the subject
    ROW.build().fit(data[0][:200], data[1][:200])
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@needed
def test_another_seed_is_another_network(model, data):
    other = LstmForecaster(**ROW.estimator.params, random_state=1).fit(data[0], data[1])
    assert not np.allclose(other.predict(data[2]), model.predict(data[2]))


@pytest.mark.slow
@needed
def test_another_process_gives_the_same_bits_in_silence_on_one_thread(tmp_path):
    code = (
        "import json, sys, numpy as np; from mltrainer.models.networks import LstmForecaster\n"
        "assert not {'keras', 'jax'} & set(sys.modules)\n"
        "rng = np.random.default_rng(0); X = rng.normal(size=(200, 2)); y = X[:, 0] + 0.1 * rng.normal(size=200)\n"
        "p = LstmForecaster(units=4, window=5, epochs=2).fit(X, y).predict(X[:9])\n"
        "import os; print(json.dumps([p.tolist(), os.environ['KERAS_HOME'], os.environ['XLA_FLAGS']]))"
    )
    environment = {**os.environ, "MLTRAINER_HOME": str(tmp_path), "HOME": str(tmp_path / "user"), "XLA_FLAGS": ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    theirs, home, flags = json.loads(run.stdout)
    assert run.stderr == ""
    assert home == str(tmp_path / "keras")
    assert flags == "--xla_cpu_multi_thread_eigen=false"
    assert not (tmp_path / "user" / ".keras").exists()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=200)
    assert LstmForecaster(units=4, window=5, epochs=2).fit(X, y).predict(X[:9]).tolist() == theirs


@needed
def test_too_few_rows_and_other_columns_are_refused(model, data):
    with pytest.raises(NotEnoughHistory, match="at least 83"):
        ROW.build().fit(data[0][:82], data[1][:82])
    with pytest.raises(BadInput, match="6 columns were learned from"):
        model.predict(data[2][:, :5])


@pytest.mark.parametrize("absent", ["keras", "jax"])
def test_without_keras_or_jax_the_model_is_unavailable_with_the_command(absent, monkeypatch):
    monkeypatch.setattr(networks, "find_spec", lambda name: None if name == absent else find_spec("sys"))
    assert not ROW.available
    assert "pip install 'mltrainer[deep]'" in ROW.why_unavailable
