"""Every test has a home of its own and a machine without keys."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

KEYS = ("POLYGON_API_KEY", "MASSIVE_API_KEY", "FRED_API_KEY", "MLTRAINER_MODE", "MLTRAINER_DATABASE_URL")

# A busy machine is no reason to fail, and a failure must come back on the next run.
settings.register_profile("mltrainer", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mltrainer")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test its own MLTRAINER_HOME, not yet made, and mode sample."""
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("MLTRAINER_HOME", str(folder))
    return folder
