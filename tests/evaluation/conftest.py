"""One sealed matrix of real history for the whole room; each test gets a copy of the home it was sealed in."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select

from mltrainer import store
from mltrainer.evaluation import study
from mltrainer.features.matrix import Matrix
from mltrainer.settings import settings

collect_ignore = ["conftest.py"]  # it has no doctest, and another room has a module of this name


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Matrix]:
    """A home in which MSFT 2004..2008 with its context is admitted, and the matrix: 1,007 rows, horizon 5."""
    folder = tmp_path_factory.mktemp("template") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(folder))
        patch.setenv("MLTRAINER_MODE", "sample")
        matrix = study.matrix("MSFT", start="2004-01-02", end="2008-12-31")
    return folder, matrix


@pytest.fixture
def settle(home: Path) -> Callable[[Path], None]:
    """Make the home of this test, and its rows wherever they are, a copy of another."""

    def settled(folder: Path) -> None:
        shutil.copytree(folder, home)
        if settings().database_url is not None:
            _copy_rows(home / "mltrainer.sqlite")

    return settled


@pytest.fixture
def msft(template: tuple[Path, Matrix], settle: Callable[[Path], None]) -> Matrix:
    """The matrix, sealed in the home of this test, whose ledger is empty."""
    settle(template[0])
    return template[1]


def _copy_rows(file: Path) -> None:
    """Bring the rows of a home into the server that the test asks for."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as there, store.writing() as here:
        for table in store.SCHEMA.sorted_tables:
            if rows := there.execute(select(table)).mappings().all():
                here.execute(insert(table), [dict(row) for row in rows])
    engine.dispose()
