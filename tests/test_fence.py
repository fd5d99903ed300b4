"""A developer's keys, settings and `.env` reach no test, whoever starts it and where."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mltrainer.settings import settings

CHILD = "from mltrainer.settings import settings; print(settings().data_mode, settings().database_url)"
LEAKS = ("POLYGON_API_KEY", "FRED_API_KEY", "MLTRAINER_DATABASE_URL", "MLTRAINER_MODE")


@pytest.mark.usefixtures("database")  # what a run on a server tells its tests is no leak
def test_there_is_no_key_here_and_none_in_a_process_that_is_started_from_here():
    now = settings()
    assert (now.data_mode, now.polygon_api_key, now.fred_api_key, now.database_url) == ("sample", None, None, None)
    answer = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["sample", "None"]


def test_tests_that_are_started_beside_an_env_file_and_with_keys_see_neither(tmp_path: Path):
    (tmp_path / ".env").write_text("".join(f"{name}=canary\n" for name in LEAKS if name != "MLTRAINER_MODE"))
    (tmp_path / ".env").chmod(0o600)
    here = f"{__file__}::{test_there_is_no_key_here_and_none_in_a_process_that_is_started_from_here.__name__}"
    call = [sys.executable, "-m", "pytest", here, "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = os.environ | dict.fromkeys(LEAKS, "live")
    answer = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout
