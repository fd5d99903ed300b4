"""Several targets asked at once: a report for each, and a page in front that leads to them."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from making import SPAN

from mltrainer import reports
from mltrainer.errors import BadInput, UnknownName
from mltrainer.trust import audit

KNOWN = {"start": SPAN[1], "end": SPAN[3], "families": ["neighbors"], "progress": False, "validate": False, "jobs": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of families are tested elsewhere."""
    monkeypatch.setattr(
        "mltrainer.reports.run.family_pages", lambda chosen, *rest: {f: {"status": "ok"} for f in chosen}
    )


def test_a_page_in_front_leads_to_the_report_of_each_target_and_the_trail_knows_it(made, home, tmp_path):
    shutil.copytree(made.home, home)
    found = reports.survey(["return", "volatility", "rank"], "MSFT", out=tmp_path, **KNOWN)
    assert list(found.runs) == ["return", "volatility"]
    text = found.page.read_text(encoding="utf-8")
    for run in found.runs.values():
        assert f'href="{run.id}/index.html"' in text
        assert (found.page.parent / run.id / "index.html").is_file()
    assert found.map.sentence() in text
    assert "of names side by side: at least 5" in text  # why there is no report of the rank
    told = next(iter(audit.entries(kind="map"))).payload
    assert told["sha256"] == sha256(found.page.read_bytes()).hexdigest()
    assert told["runs"] == {target: run.id for target, run in found.runs.items()}


def test_what_cannot_be_asked_is_said_before_anything_runs(home, tmp_path: Path):
    with pytest.raises(UnknownName, match="no target is called 'retrun'"):
        reports.survey(["return", "retrun"], out=tmp_path)
    with pytest.raises(BadInput, match="names side by side: at least 5"):
        reports.survey(["rank"], out=tmp_path, **KNOWN)
    with pytest.raises(BadInput, match="no target was given"):
        reports.survey([], out=tmp_path)
    assert not list(tmp_path.glob("MSFT*"))


def test_several_tickers_of_several_targets_are_refused_in_one_line(command):
    said = command("report", "--target", "return", "--target", "range", "--ticker", "MSFT", "--ticker", "IBM")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "give --ticker once, or --universe" in said.err
