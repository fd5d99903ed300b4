"""The commands of operations: one JSON document, exit codes, and nothing removed unless asked."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mltrainer import blobstore
from mltrainer.cli import app
from mltrainer.operations import sealed
from mltrainer.trust import audit


def asked(*words: object, code: int = 0, typed: str | None = None) -> str:
    said = CliRunner().invoke(app, [*map(str, words)], input=typed, standalone_mode=False)
    assert (said.return_value or said.exit_code) == code, said.output or repr(said.exception)
    return said.stdout


@pytest.mark.usefixtures("database")
def test_a_backup_is_made_checked_and_restored(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    head = audit.append("first")
    made = json.loads(asked("backup", tmp_path / "b", "--json"))
    assert made["head"] == str(head)
    assert json.loads(asked("restore", tmp_path / "b", "--check", "--json"))["holds"] is True
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "other"))
    assert "is now in" in asked("restore", tmp_path / "b")
    assert audit.verify(head) == []


def test_a_passphrase_comes_from_the_environment_or_is_typed_and_is_never_an_argument(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    audit.append("first")
    asked("backup", tmp_path / "a", "--passphrase", typed="a long word\na long word\n")
    assert "Backup(" in asked("restore", tmp_path / "a", "--check", "--passphrase", typed="a long word\n")
    monkeypatch.setenv("MLTRAINER_PASSPHRASE", "a long word")
    assert "Backup(" in asked("restore", tmp_path / "a", "--check")


def test_prune_and_scrub_show_first_and_do_on_request(home: Path, tmp_path: Path):
    audit.append("first")
    bad = blobstore.put(b"x" * 1000)
    shown = json.loads(asked("prune", "--days", "0", "--out", tmp_path, "--json"))
    assert [row["name"] for row in shown["rows"]] == [bad]
    blobstore.path(bad).write_bytes(b"y" * 1000)
    assert json.loads(asked("scrub", "--json", code=1))["holds"] is False
    assert blobstore.exists(bad)
    assert "moved to" in asked("scrub", "--yes", code=1)
    assert asked("scrub") == "every file is what was written\n"
    assert "0 things, 0.0 MB to remove" in asked("prune", "--days", "0", "--out", tmp_path)
    assert "0 kept matrices and 0 answers of polygon would go" in asked("prune", "--source", "polygon")


def test_a_backup_that_is_to_be_sealed_is_never_written_open(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    audit.append("first")
    monkeypatch.setenv("MLTRAINER_PASSPHRASE", "")
    said = CliRunner().invoke(app, ["backup", str(tmp_path / "b"), "--passphrase"], standalone_mode=False)
    assert "without a terminal set MLTRAINER_PASSPHRASE" in str(said.exception)  # nothing was typed
    assert not (tmp_path / "b").exists()
    asked("backup", tmp_path / "b", "--passphrase", typed="a long word\na long word\n")
    assert (tmp_path / "b").read_bytes().startswith(sealed.MAGIC)
