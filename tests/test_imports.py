"""A command imports what it needs and no more: help and data are there at once, whatever models are installed."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = (
    "sklearn keras jax torch statsmodels arch skfolio cvxpy plotly lightgbm catboost xgboost optuna pymoo papermill "
    "nbconvert voila pandas scipy talib shap distributed jupyter_server exchange_calendars skops ipywidgets"
).split()
LIGHT = {
    "--help": "",
    "--version": "",
    "fetch --help": "",
    "evaluate --help": "",
    "report --help": "",
    "audit head": "pandas",
    "fetch macro CPILFESL": "pandas",
    "fetch bars MSFT": "pandas scipy exchange_calendars",
    "quality MSFT": "pandas scipy exchange_calendars",
    "models": "pandas scipy sklearn",
    "regime": "pandas scipy sklearn statsmodels talib plotly",  # a Markov model; signs and numbers as pages have them
}
# Each command in a fork of one process, so that only what it imports itself is paid for.
FORKS = f"""
import io, json, os, sys
import mltrainer.cli as cli
for line in sys.stdin:
    sys.argv = ["mltrainer", *line.split()]
    if os.fork() == 0:
        code, out, sys.stdout = None, sys.stdout, io.StringIO()
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        out.write(json.dumps([line.strip(), code, [name for name in {HEAVY!r} if name in sys.modules]]) + "\\n")
        out.flush()
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> dict[str, tuple[object, list[str]]]:
    """How a command ended, and the heavy libraries that it has imported by then."""
    env = os.environ | {"MLTRAINER_HOME": str(tmp_path_factory.mktemp("home")), "MLTRAINER_MODE": "sample"}
    done = subprocess.run(
        [sys.executable, "-c", FORKS], input="\n".join(LIGHT), text=True, env=env, capture_output=True, check=True
    )
    return {line: (code, names) for line, code, names in map(json.loads, done.stdout.splitlines())}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("command", LIGHT)
def test_a_command_imports_no_more_than_it_needs(command, imported):
    code, names = imported[command]
    assert code in (0, None)  # a command that fails at once imports nothing
    assert set(names) <= set(LIGHT[command].split())
