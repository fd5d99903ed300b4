"""Each line of docs/api.md that calls curl is run, as it stands there, against a running server."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from caller import Running, alerts_of

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None or not DOCS.exists(), reason="needs curl and the docs"),
]
LINES = [line for line in DOCS.read_text().splitlines() if line.startswith("curl ")] if DOCS.exists() else []
# By what stands in the line: the role that may, and the keys of the answer (of its `answer`, after a dot).
PAGE, ANSWER = "mode total limit offset items reason", "mode as_of notice answer"
JOB = "id state progress user at changed request attempt artifact error result"
SHAPES = {
    "$B/api/health": ("viewer", "status mode version role may"),
    "$B/api/openapi.json": ("viewer", "openapi info security paths components"),
    "/api/models?family": ("viewer", PAGE),
    "/api/regime": ("viewer", ANSWER),
    "/api/data-quality": ("viewer", "mode ok items violations"),
    "/acknowledge": ("researcher", ANSWER),
    "/api/alerts": ("viewer", PAGE),
    "/api/recommendations": ("viewer", PAGE),
    "/api/portfolio?": ("viewer", ANSWER),
    "/api/compliance/audit": ("auditor", PAGE + " head holds findings"),
    "/api/users": ("admin", PAGE),
    "risk-parity": ("researcher", ANSWER),
    "ndjson": ("viewer", "answer"),
    "/api/chat?": ("viewer", PAGE),
    "-X DELETE": ("viewer", "mode forgotten"),
    "/api/chat": ("viewer", ANSWER),
    "curl -i": ("researcher", JOB),
    "-X POST": ("researcher", JOB),
    "train/$ID": ("auditor", JOB),
    "# all of them": ("auditor", PAGE),
    "/api/predict": ("researcher", ANSWER),
}


def run(served: Running, line: str, **names: str) -> Any:
    """What a line prints, read as JSON; `-i` has the head before it."""
    shown = shape(line)
    head = next(x for x in DOCS.read_text().splitlines() if x.startswith("B="))
    script = f"set -eu\n{head}\nB={served.base}\n{line.partition('  #')[0]}"
    env = {"PATH": os.environ["PATH"], "TOKEN": served.tokens[shown[0]], **names}
    done = subprocess.run(["sh", "-c", script.replace("curl ", "curl -sS --noproxy '*' ")], env=env,
                          capture_output=True, text=True, check=True)  # fmt: skip
    body = done.stdout.rpartition("\n\n")
    if " -i " in line:
        assert body[0].startswith("HTTP/1.1 202")
        assert re.search(r"Location: /api/models/train/[0-9a-f]{12}", body[0])
    return json.loads(body[2])


def shape(line: str) -> tuple[str, str]:
    return next(shown for words, shown in SHAPES.items() if words in line)


@pytest.fixture(scope="module")
def answers(served: Running) -> dict[str, Any]:
    """Every line run in the order of the docs; the id and the artifact are of the answers before."""
    found: dict[str, Any] = {}
    names: dict[str, str] = {"ALERT": alerts_of(served)[-1]}
    for line in LINES:
        if "$ARTIFACT" in line:
            names["ARTIFACT"] = ended(served, names["ID"])["artifact"]
        found[line] = run(served, line, **names)
        if line.startswith("curl -i"):
            names["ID"] = found[line]["id"]
    return found


def ended(served: Running, id_: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = served(f"/api/models/train/{id_}", role="auditor").json
        if found["state"] not in ("queued", "running"):
            break
        time.sleep(0.3)
    assert found["state"] == "done", found
    return found


@pytest.mark.parametrize("line", LINES)
def test_a_documented_call_answers_in_its_documented_shape(answers: dict[str, Any], line: str):
    assert set(answers[line]) == set(shape(line)[1].split()), answers[line]


def test_what_the_docs_say_of_answers_is_so(served: Running, answers: dict[str, Any]):
    models, predicted = (next(a for line, a in answers.items() if w in line) for w in ("family=trees", "/api/predict"))
    assert (models["limit"], models["offset"], len(models["items"])) == (10, 0, 10)
    assert {m["family"] for m in models["items"]} == {"trees"}
    assert len(predicted["answer"]["rows"]) == 5
    said = re.findall(r"^```json\n(.*?)\n```", DOCS.read_text(), flags=re.S | re.M)
    error = served("/api/models/train", "POST", role="researcher", body={"model": "RidgeRegresion"}).json
    assert [json.loads(text) for text in said] == [error]


def test_every_route_has_a_documented_call():
    from mltrainer.server.routes import ROUTES

    for route in ROUTES:
        place = route.path.replace("{id}", "$ALERT" if "alerts" in route.path else "$ID")
        posts = [line for line in LINES if place in line and (" -d " in line) == (route.method == "POST")]
        assert posts, f"{route.method} {route.path} has no line in docs/api.md"
