"""A report comes with a page that asks of its strongest model what a validator would ask."""

import json
from pathlib import Path

import pytest
from making import SPAN

from mltrainer import reports
from mltrainer.evaluation import trials

WHEN = {"start": SPAN[1], "end": SPAN[3]}


@pytest.fixture
def run(home: Path, tmp_path: Path) -> reports.Run:
    return reports.report(["neighbors"], ["MSFT"], **WHEN, jobs=1, out=tmp_path / "out", progress=False)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_page_is_part_of_the_run_and_its_diagnostics_are_no_trials(run: reports.Run):
    assert run.failed == {}
    assert run.manifest["validation"] == {"status": "ok", "reason": ""}
    assert {"validation.html", "validation.ipynb"} <= run.manifest["outputs"].keys()
    assert reports.verify(run) == []
    page, index = ((run.path / name).read_text() for name in ("validation.html", "index.html"))
    best = str(run.rows.iloc[0]["name"])
    assert f"Validation of {best} on MSFT five sessions ahead" in page
    assert 'href="validation.html"' in index
    for said in ("Minimum track record", "Kupiec", "CUSUM", "Shuffled K-fold claims", "when exchanged"):
        assert said in page
    status = trials.ledger()["status"].value_counts().to_dict()
    assert status == {"ok": 5, "diagnostic": 6}  # the five paths and the shuffled folds of the one model
    assert run.manifest["luck"]["trials"] == 5
    told = json.loads((run.path / "validation.ipynb").read_text())["metadata"]["papermill"]["parameters"]
    assert (told["model"], told["ticker"]) == (best, "MSFT")
