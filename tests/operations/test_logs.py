"""Logs of a server are JSON, one object a line, and no secret is ever in them."""

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.errors import BadInput
from mltrainer.operations import logs
from mltrainer.settings import settings

KEY = "Zk3-not-a-real-key-9Qx"


@pytest.fixture
def log(home: Path):
    """The package's own logger, which the test leaves as it was."""
    found = logging.getLogger("mltrainer")
    kept, level, propagate = list(found.handlers), found.level, found.propagate
    yield found
    for handler in [h for h in found.handlers if h not in kept]:
        handler.close()
        found.removeHandler(handler)
    found.setLevel(level)
    found.propagate = propagate


def lines(path: Path | None) -> list[dict[str, object]]:
    assert path is not None
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_time_level_logger_event_and_the_fields(log: logging.Logger):
    path = logs.begin("serve")
    assert logs.begin("serve") == path  # begun twice, written once
    logging.getLogger("mltrainer.server").info("GET %s", "/api/models", extra={"status": 200, "user": "ada"})
    (line,) = lines(path)
    assert str(line.pop("at")).endswith("Z")
    assert line == {
        "event": "GET /api/models", "level": "info", "logger": "mltrainer.server", "status": 200, "user": "ada",
    }  # fmt: skip


def test_no_secret_reaches_a_file_or_the_terminal(
    log: logging.Logger, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FRED_API_KEY", KEY)
    path = logs.begin("serve")
    try:
        raise ValueError(f"the provider said {KEY} is unknown")
    except ValueError:
        logging.getLogger("mltrainer.x").exception(
            "asked with %s", KEY, extra={"api_key": "other", "url": f"/?q={KEY}"}
        )
    assert path is not None
    text = path.read_text() + capfd.readouterr().err
    assert KEY not in text
    assert "ValueError: the provider said *** is unknown" in text
    assert lines(path)[0]["api_key"] == "***"


def test_no_secret_is_in_what_lies_deep_in_a_field(log: logging.Logger, monkeypatch: pytest.MonkeyPatch):
    """By what it is, by its form, and by the name it stands under: in dicts of lists of dicts as in the first line."""
    monkeypatch.setenv("FRED_API_KEY", KEY)
    asked = {"urls": [f"/a?q={KEY}", {"then": ("redis://user:a-word-of-theirs@host/0", 3)}], "password": "hunter2"}
    path = logs.begin("serve")
    logging.getLogger("mltrainer.x").info("asked", extra={"asked": [asked]})
    (line,) = lines(path)
    assert line["asked"] == [
        {"urls": ["/a?q=***", {"then": ["redis://user:***@host/0", 3]}], "password": "***"},
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_the_folder_of_logs_is_for_its_owner_alone_also_one_that_was_open(log: logging.Logger, home: Path):
    folder = home / "logs"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    logs.begin("serve")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_secrets_are_masked_where_the_settings_cannot_be_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLTRAINER_MODE", "nonsense")
    monkeypatch.setenv("FRED_API_KEY", KEY)
    with pytest.raises(BadInput):
        settings()
    assert logs.masked(f"{KEY} and Bearer 0123456789abcdef") == "*** and Bearer ***"


def test_what_only_the_settings_know_to_be_secret_is_masked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """An address of alerts is named like no secret, and a key in `.env` is in no variable."""
    monkeypatch.setenv("MLTRAINER_ALERT_URLS", "json://example.com/a-hook-of-theirs")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(f"FRED_API_KEY={KEY}\n")
    Path(".env").chmod(0o600)
    assert logs.masked(f"sent to json://example.com/a-hook-of-theirs with {KEY}.") == "sent to *** with ***."


def test_what_is_too_short_to_be_a_secret_is_a_part_of_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOUSE_KEY", "abc")
    monkeypatch.setenv("OTHER_KEY", "abcd")
    assert logs.masked("abc of abacus, abcd") == "abc of abacus, ***"


def test_what_is_off_writes_nothing_and_the_level_is_obeyed(log: logging.Logger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLTRAINER_LOG", "off")
    assert logs.begin("serve") is None
    monkeypatch.setenv("MLTRAINER_LOG", "error")
    path = logs.begin("serve")
    log.warning("not this")
    log.error("this")
    assert [line["event"] for line in lines(path)] == ["this"]


@given(st.from_regex(r"[A-Za-z0-9_-]{12,40}", fullmatch=True))
def test_a_token_is_masked_in_every_form_in_which_it_travels(secret: str):
    forms = ("Bearer {}", "token {}", "?token={}&a=1", "apiKey={}", "redis://user:{}@host:6379/0", '"password": "{}"')
    for form in forms:
        assert secret not in logs.masked(form.format(secret))


@pytest.mark.parametrize("text", ["Incorrect API key provided: {}", "x-api-key: {}", "{}"])
def test_the_key_of_a_language_model_is_a_secret_too(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert KEY not in logs.masked(text.format(KEY))
    if text != "{}":  # also one that this process does not know
        assert "zz-other-123456" not in logs.masked(text.format("zz-other-123456"))
