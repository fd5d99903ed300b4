"""Code of one's own is known by what it runs: another body is another hash, another comment is not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mltrainer.evaluation import code
from mltrainer.models.base import Lazy
from mltrainer.models.catalog import specs

PLAIN = """
from sklearn.linear_model import Ridge
import math
LIMIT = 3.0
def helper(x):
    return x * LIMIT
class Base(Ridge):
    def scaled(self, X):
        return helper(X)
class Mine(Base):
    factor = 2
    def predict(self, X):
        return self.factor * super().predict(self.scaled(X)) + math.pi
"""


@pytest.fixture
def written() -> Iterator:
    """Write a module of one's own, as a notebook would, and give its class `Mine`."""
    made: list[str] = []

    def write(text: str, name: str = "an_own_module") -> type:
        module = ModuleType(name)
        sys.modules[name] = module
        made.append(name)
        exec(compile(text, "<cell>", "exec"), vars(module))
        return module.Mine  # type: ignore[no-any-return]

    yield write
    for name in made:
        sys.modules.pop(name, None)


def test_the_catalog_is_all_libraries_and_this_package():
    assert {code.source(row.estimator) for row in specs()} == {""}


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("self.factor * super()", "self.factor + super()"),  # its own body
        ("factor = 2", "factor = 3"),  # what it holds
        ("return x * LIMIT", "return x / LIMIT"),  # a function it calls by way of its base
        ("LIMIT = 3.0", "LIMIT = 4.0"),  # a constant that function reads
        ("math.pi", "math.e"),  # what it takes from a library
        ("Base(Ridge)", "Base(__import__('sklearn.linear_model', fromlist=['x']).Lasso)"),  # what it derives from
        ("def predict(self, X)", "def predict(self, X, shift=1.0)"),  # what it assumes
    ],
)
def test_another_body_is_another_hash(written, was, now):
    assert was in PLAIN
    before = code.source(written(PLAIN)())
    assert len(before) == 64
    assert code.source(written(PLAIN.replace(was, now))()) != before
    assert code.source(written(PLAIN)()) == before


@given(lines=st.integers(0, 30))
def test_where_it_stands_and_what_is_said_of_it_change_nothing(lines):
    def hashed(text: str) -> str:
        module = ModuleType("an_own_module")
        sys.modules["an_own_module"] = module
        exec(compile(text, f"<cell {lines}>", "exec"), vars(module))
        return code.source(module.Mine())

    assert hashed("# a comment\n" * lines + PLAIN) == hashed(PLAIN)
    sys.modules.pop("an_own_module")


def test_it_is_found_wherever_it_stands_inside(written):
    mine = written(PLAIN)()
    inner = code.source(mine)
    assert inner != ""
    assert code.source(make_pipeline(StandardScaler(), mine)) == inner
    assert code.source({"estimator": [("a", mine)]}) == inner
    one, two = (FunctionTransformer(f) for f in (lambda x: x + 1, lambda x: x + 2))
    assert code.source(one) != code.source(two)
    assert code.source(make_pipeline(StandardScaler(), Ridge())) == ""


def test_a_class_that_is_imported_on_use_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lazily_own.py").write_text(PLAIN)
    assert code.source(Lazy("lazily_own.Mine")) != ""
    assert code.source(Lazy("a_library_that_is_absent.Regressor")) == ""
    sys.modules.pop("lazily_own")


def test_what_is_loaded_counts_and_not_what_the_file_says_by_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_later.py"
    file.write_text(PLAIN)
    import edited_later  # type: ignore[import-not-found]

    before = code.source(edited_later.Mine())
    file.write_text(PLAIN.replace("math.pi", "math.e"))
    assert code.source(edited_later.Mine()) == before  # the old code still runs
    sys.modules.pop("edited_later")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    import edited_later as again  # type: ignore[import-not-found]

    assert code.source(again.Mine()) != before
    sys.modules.pop("edited_later")


def test_it_is_the_same_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "owned.py").write_text(PLAIN.replace("factor = 2", "factor = 2; names = {'a', 'b', 'c', 'd'}"))
    line = "import owned; from mltrainer.evaluation import code; print(code.source(owned.Mine()))"
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        run = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True, env=environment)
        found.add(run.stdout)
    assert len(found) == 1
