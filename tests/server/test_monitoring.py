"""What a monitor collects is for the admin alone, counts by route, and no log line holds a token."""

import json
import time

import pytest
from caller import TOKEN, Running

from mltrainer.server.openapi import document

PATH = "/api/metrics"


@pytest.mark.parametrize("role", ["", "viewer", "auditor", "researcher"])
def test_only_the_admin_reads_the_figures(served: Running, role: str):
    assert served(PATH, role=role).status == 403


def test_requests_are_counted_by_route_and_parts_are_measured(served: Running):
    for path in ("/api/health", "/api/models?limit=1", "/no/such/page/of-a-visitor", "/api/health"):
        served(path, role="admin")
    said = served(PATH, role="admin")
    assert said.status == 200
    assert said.headers["Content-Type"].startswith("text/plain")
    assert 'mltrainer_request_seconds_count{method="GET",route="/api/health",status="200"}' in said.text
    assert 'mltrainer_part_state{part="store answers"} 0.0' in said.text
    assert "of-a-visitor" not in said.text  # a path is never a label: there are as many as visitors invent
    assert served(PATH, "POST", role="admin", body={}).status in (403, 405)
    assert document()["paths"][PATH]["get"]["x-permission"] == "metrics:read"


def test_a_method_that_a_visitor_made_up_is_no_label(served: Running):
    """Labels are kept for as long as the server runs: there must be as few as there are rows."""
    for method in ("BREW", "X" * 40):
        assert served("/api/health", method, role="admin").status in (403, 405)
    text = served(PATH, role="admin").text
    assert 'method="other"' in text
    assert "BREW" not in text
    assert "X" * 40 not in text


def test_the_log_has_who_asked_what_and_no_token(served: Running):
    served("/api/health?token=" + served.tokens["viewer"])
    served("/api/models", role="viewer")
    path = served.folder / "home" / "logs" / "serve.jsonl"
    for _ in range(100):  # a line is written after its answer was sent
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        if found := [r for r in rows if r.get("path") == "/api/models" and r.get("user") == "my-viewer"]:
            break
        time.sleep(0.05)
    assert found
    text = path.read_text() + (served.folder / "log").read_text()
    assert not [token for token in (*served.tokens.values(), TOKEN) if token and token in text]
