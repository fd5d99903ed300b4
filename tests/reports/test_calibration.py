"""What the verdict is worth, said under it: on the page, in the manifest and in the terminal."""

import json
from html import unescape

import pytest
from making import SPAN

from mltrainer import reports


@pytest.mark.slow
def test_a_report_says_under_its_verdict_what_the_rule_would_have_found(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("MLTRAINER_WORLDS", "2")
    asked = {"start": SPAN[1], "end": SPAN[3], "jobs": 1, "out": tmp_path / "out", "progress": False}
    run = reports.report(["neighbors"], ["MSFT"], **asked)
    page, kept = unescape((run.path / "index.html").read_text()), run.manifest["calibration"]
    assert kept["null"] == 2
    assert kept["planted"] == 4
    assert kept["sentence"].startswith("Of 2 worlds without skill this rule called ")
    assert page.index("What to believe.") < page.index(kept["sentence"]) < page.index("Leaderboard")
    assert f"a t of at least {kept['critical']:.2f}" in page
    assert reports.verify(run) == []
    assert reports.report(["neighbors"], ["MSFT"], **asked).manifest["created_at"] == run.manifest["created_at"]


def test_the_command_says_it_in_words_and_as_one_document(command):
    call = ["calibrate", "--worlds", "1", "--planted", "1", "--model", "RidgeRegression", "--jobs", "1", *SPAN]
    said = command(*call)
    assert said.code == 0
    assert said.out.split()[:2] == ["lead", "worlds"]
    assert said.out.splitlines()[-1].startswith("Of 1 worlds without skill this rule called ")
    found = json.loads(command(*call, "--json").out)
    assert (found["null"], found["planted"], found["models"]) == (1, 4, ["RidgeRegression"])
    assert found["sentence"] in said.out
