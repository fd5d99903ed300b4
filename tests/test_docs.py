"""The documents say what the code does: tables are generated, examples run, names exist, numbers are computed.

`MLTRAINER_REWRITE_DOCS=1 pytest tests/test_docs.py` writes the generated tables of the documents anew.
"""

import importlib
import inspect
import json
import os
import re
import struct
import tomllib
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from pydantic import AliasChoices
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold, cross_val_predict
from typer._click import Command

import mltrainer
from mltrainer import metrics
from mltrainer.assistant.phrases import PHRASES
from mltrainer.assistant.tools import TOOLS
from mltrainer.cli import app
from mltrainer.data import quality, sample
from mltrainer.data.providers.macro_series import SERIES, Series
from mltrainer.data.providers.polygon_macro import ECONOMY
from mltrainer.evaluation import columns, protocol, significance, skill
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.features import indicators
from mltrainer.features.targets import forward_return
from mltrainer.models import catalog
from mltrainer.reports import run
from mltrainer.settings import Settings
from mltrainer.trust.provenance import SOURCES

ROOT = Path(__file__).resolve().parents[1]
README, CONTRIBUTING, CHANGELOG = (ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG"))
COLUMNS, REFERENCE, VERDICT, DATA, LIMITS, DECISIONS, SECURITY, SCALING = (
    ROOT / "docs" / f"{name}.md"
    for name in ("columns", "reference", "verdict", "data", "limits", "decisions", "security", "scaling")
)
ASSISTANT = ROOT / "docs" / "assistant.md"
DOCS = (README, CONTRIBUTING, CHANGELOG, ROOT / "reports" / "README.md", COLUMNS, REFERENCE, VERDICT, DATA, LIMITS,
        DECISIONS, ASSISTANT, SECURITY, SCALING)  # fmt: skip
CATALOG = 123  # entries of the catalog when all its families are there
YEARS = (1, 2, 3, 5, 10)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def flat(path: Path) -> str:
    """The words of a document, each line break a space."""
    return " ".join(text(path).split())


# --- generated tables -----------------------------------------------------------------------------------------


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a pipe in a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def families() -> str:
    rows = []
    for family in map(catalog.FAMILIES.get, catalog.NAMED):
        names = [s.name for s in family.specs]
        shown = [names[0], names[len(names) // 2], names[-1]]
        assumes = f"{family.assumes.partition('. ')[0].rstrip('.')}."
        examples = ", ".join(f"`{n}`" for n in dict.fromkeys(shown))
        rows.append([f"{family.title} (`{family.key}`)", str(len(names)), assumes, examples])
    n, k = len(catalog.specs()), len(catalog.NAMED)
    said = f"{n} models in {k} families" if n >= CATALOG else f"{n} of the catalog's {CATALOG} models, in {k} families"
    return f"{said}:\n\n{table(['Family', 'Models', 'It assumes', 'Among them'], rows)}"


def settings_table() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [alias or f"MLTRAINER_{name.upper()}"]
        default = "" if field.default is None or field.default_factory else f"`{field.default}`"
        rows.append([" or ".join(f"`{n}`" for n in names), default, field.description or ""])
    return table(["Variable", "Default", "What it is"], rows)


def commands() -> dict[str, Command]:
    """Every command by the words one types."""

    def leaves(command: Command, words: tuple[str, ...]) -> Iterator[tuple[str, Command]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield " ".join(words), command
        for name, sub in (inner or {}).items():
            yield from leaves(sub, (*words, name))

    return dict(leaves(typer.main.get_command(app), ()))


def commands_table() -> str:
    rows = []
    for words, command in commands().items():
        given = [f"{p.name or ''}{'...' if p.nargs == -1 else ''}".upper() for p in command.params if is_argument(p)]
        options = " ".join(f"`{p.opts[0]}`" for p in command.params if not is_argument(p))
        rows.append([f"`{' '.join(['mltrainer', words, *given])}`", options, (command.help or "").splitlines()[0]])
    return table(["Command", "Options", "What it does"], rows)


def is_argument(parameter: object) -> bool:
    return getattr(parameter, "param_type_name", "") == "argument"


def python_table() -> str:
    rows = []
    for name in mltrainer.PUBLIC:
        value = getattr(mltrainer, name)
        rows.append([f"`mt.{name}`", (inspect.getdoc(value) or "").splitlines()[0]])
    return table(["Call", "What it gives"], rows)


def sample_table() -> str:
    rows = []
    for (package, note), group in groupby(
        (*sample.BARS, *sample.MACRO), key=lambda e: (e.package, e.note.partition(";")[2].strip() or e.note)
    ):
        entries = list(group)
        frames = {e.name: e.load().frame for e in entries}
        first = min(f.index[0] for f in frames.values())
        names = [n if f.index[0] == first else f"{n} (from {f.index[0].year})" for n, f in frames.items()]
        last = max(f.index[-1] for f in frames.values())
        rows.append([", ".join(names), f"{first.date()} to {last.date()}", f"`{package}`", note])
    return table(["Series", "Span", "Package", "What its keepers say"], rows)


def macro_table() -> str:
    def usable(row: Series) -> str:
        late = "the day after its vintage" if row.delay else "the day of its vintage"
        return f"{late}, else day {row.lag_days}" if row.revised else f"day {row.lag_days}"

    rows = [
        [row.id, f"{row.text}; {row.unit}", usable(row), "yes" if row.id in ECONOMY else "", row.rights]
        for row in SERIES.values()
    ]
    return table(["Series", "What it is", "Usable from", "At Massive", "Whose"], rows)


def calibration_table() -> str:
    """What the long study measured, from docs/calibration.json."""
    found = json.loads((ROOT / "docs" / "calibration.json").read_text())
    size, held = found["size"], found["exposure"]
    most = f"{size['called']}: {size['rate']:.1%}, at most {size['high']:.1%} with 95 % confidence"
    rows = [[f"MSFT, nothing to find, {size['models']} models in each", str(size["worlds"]), most]]
    kinds = ", ".join(f"{kind} {held[kind]}" for kind in ("long", "short", "random", "noise"))
    what = f"MSFT with a Sharpe ratio of {held['drift']:g} for holding: always long, always short, a random sign,"
    rows.append([f"{what} 100 noise models that are mostly long", str(held["worlds"]), kinds])
    for level in found["power"]["levels"]:
        lead = f"a lead with a true Sharpe ratio of {level['truth']:.1f} (best learner {level['best']:.1f})"
        what = f"MSFT, {lead}, {found['power']['models']} models in each"
        rows.append([what, str(level["worlds"]), f"{round(level['found'] * level['worlds'])}"])
    rows += [row for told in found.get("targets", {}).values() for row in target_rows(told)]
    panel = found["panel"]
    many = sum(level["worlds"] for levels in panel["levels"].values() for level in levels)
    least = f"least true Sharpe ratio found in 8 of 10: {panel['many']:.1f}, of one ticker alone {panel['one']:.1f}"
    rows.append(["Twenty tickers at once (closes of 2010 to 2019), the same lead in each", str(many), least])
    return table(["Worlds", "How many", "Said to show evidence of skill"], rows)


def target_rows(told: dict) -> list[list[str]]:
    """Size and power of one target, and how often a model was said to add to all plain forecasts."""
    added = "; adds to all plain forecasts, of"
    more = {row["edge"]: f"{added} {row['worlds']}: {interval(row['adds'], row)}" for row in told["adds"]}
    head = f"{told['question'].partition(',')[0]}, {len(told['models'])} models in each"
    size = interval(told["rate"], told) + more.get(0.0, "")
    rows = [[f"{head}, nothing to find", str(told["null"]), size]] if told["null"] else []
    for level in told["power"]:
        truth = (
            f"saving {level['truth']:.1%} of HAR's loss"
            if more
            else f"with a true Sharpe ratio of {level['truth']:.1f}"
        )
        said = interval(level["found"], level) + more.get(level["edge"], "")
        rows.append([f"{head}, a lead {truth}", str(level["worlds"]), said])
    return rows


def interval(share: float, row: dict) -> str:
    return f"{share:.1%} ({row['low']:.1%} to {row['high']:.1%})"


def rules_table() -> str:
    rows = [
        [kind if n == 0 else "", f"`{r.name}`", r.severity, r.asks, r.remedy]
        for kind, rules in quality.RULES.items()
        for n, r in enumerate(rules)
    ]
    return table(["Of", "Rule", "Severity", "We ask that", "Otherwise"], rows)


def phrasings_table() -> str:
    tools: dict[str, list[str]] = {}
    for phrase in PHRASES:
        tools.setdefault(phrase.tool, []).append(phrase.example)
    rows = [[f"`{tool}`", TOOLS[tool].description, "<br>".join(examples)] for tool, examples in tools.items()]
    return f"{len(PHRASES)} phrasings:\n\n{table(['Tool', 'What it does', 'Asked as'], rows)}"


BLOCKS: dict[str, Callable[[], str]] = {
    "python": python_table,
    "families": families,
    "settings": settings_table,
    "commands": commands_table,
    "sample": sample_table,
    "macro": macro_table,
    "rules": rules_table,
    "calibration": calibration_table,
    "phrasings": phrasings_table,
}


PLACES = {
    REFERENCE: ("python", "commands", "settings", "families"),
    DATA: ("sample", "macro", "rules"),
    VERDICT: ("calibration",),
    ASSISTANT: ("phrasings",),
}


def columns_table(rows: dict[str, columns.Column]) -> Callable[[], str]:
    cells = [[f"`{name}`", column.unit, column.text] for name, column in rows.items()]
    return lambda: table(["Column", "Unit", "What it says"], cells)


COLUMN_BLOCKS: dict[str, Callable[[], str]] = {
    "forecasts": columns_table(columns.FORECASTS),
    "leaderboard": columns_table(columns.LEADERBOARD),
    "forecast": columns_table(columns.FORECAST),
}


@pytest.mark.parametrize(
    ("document", "name"),
    [
        *((document, name) for document, names in PLACES.items() for name in names),
        (CONTRIBUTING, "calibration"),
        *((COLUMNS, name) for name in COLUMN_BLOCKS),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_generated_table_is_what_the_code_says_now(document: Path, name: str) -> None:
    said, block = text(document), f"<!-- {name} -->\n{(BLOCKS | COLUMN_BLOCKS)[name]()}\n<!-- /{name} -->"
    pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
    found = pattern.search(said)
    assert found, f"{document.name} has no block {name}"
    if os.environ.get("MLTRAINER_REWRITE_DOCS"):
        document.write_text(pattern.sub(lambda _: block, said), encoding="utf-8")
    else:
        assert found[0] == block, "run MLTRAINER_REWRITE_DOCS=1 pytest tests/test_docs.py"


# --- examples and names ---------------------------------------------------------------------------------------


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(path), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", [README, CONTRIBUTING], ids=lambda p: p.name)
def test_python_in_the_documents_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = blocks(path, "python")
    assert said
    for code in said:
        exec(compile(code, path.name, "exec"), {})
    printed = " ".join(capsys.readouterr().out.split())
    for expected in blocks(path, "text"):
        assert " ".join(expected.split()) in printed


def spoken(path: Path) -> list[str]:
    """What a document calls code: spans in backticks, and the lines of its shell blocks."""
    said = text(path)
    if path.suffix == ".ipynb":
        said = "\n".join("".join(c["source"]) for c in json.loads(said)["cells"] if c["cell_type"] == "markdown")
    lines = [line.partition("#")[0] for block in re.findall(r"^```sh\n(.*?)^```", said, re.S | re.M) for line in
             block.splitlines()]  # fmt: skip
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", said, flags=re.S | re.M))


START = ROOT / "notebooks" / "start-here.ipynb"


@pytest.mark.parametrize("path", [*DOCS, START], ids=lambda p: p.name)
def test_every_command_a_document_names_exists_with_the_options_it_is_given(path: Path) -> None:
    known = commands()
    for line in spoken(path):
        words = re.search(r"(?:^|[\s/(])mltrainer ([a-z].*)", line)
        if not words:
            continue
        name = next((n for n in known if f"{words[1]} ".startswith(f"{n} ")), None)
        assert name, f"{path.name} names `{line}`, which is no command"
        options = {option for p in known[name].params for option in (*p.opts, *p.secondary_opts)}
        assert set(re.findall(r"--[a-z-]+", words[1])) <= options, line


@pytest.mark.parametrize("path", [*DOCS, START], ids=lambda p: p.name)
def test_every_make_target_a_document_names_exists(path: Path) -> None:
    targets = {t for line in re.findall(r"^([a-z][a-z -]*):", text(ROOT / "Makefile"), re.M) for t in line.split()}
    named = {t for line in spoken(path) for t in re.findall(r"^make ([a-z-]+)", line)}
    assert named <= targets


def test_the_sets_of_commands_targets_and_examples_are_not_empty() -> None:
    assert {"report", "test", "lab", "serve"} <= {t for s in spoken(README) for t in re.findall(r"make ([a-z]+)", s)}
    assert len(commands()) >= 14
    assert any("mltrainer verify RUN" in s for s in spoken(README))


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_links_and_paths_lead_to_files_of_the_repository(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", text(path))
    for link in links:
        assert (path.parent / link).exists(), link
    rooms = r"^(?:mltrainer|tests|notebooks|docs|\.ci)/[\w./-]*$"
    for named in (s for s in spoken(path) if re.match(rooms, s)):
        assert (ROOT / named).exists(), named


def test_the_map_names_things_that_stand_where_it_says() -> None:
    rows = re.findall(r"^\| [^|]+ \| `([\w/]+\.py)` \| (.+?) \|", text(CONTRIBUTING), re.M)
    assert len(rows) >= 10
    for file, where in rows:
        module = importlib.import_module(f"mltrainer.{file.removesuffix('.py').replace('/', '.')}")
        for name in re.findall(r"`(\w+)`", where):
            assert hasattr(module, name), f"{file} has no {name}"


def test_the_layers_in_the_documents_are_those_that_are_enforced() -> None:
    contract = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"][0]
    rooms = [layer.replace("|", " ").split() for layer in contract["layers"]]
    drawn = [line[:27] for line in blocks(CONTRIBUTING, "layers")[0].splitlines()]
    assert [re.findall(r"\w+", names) for names in drawn] == rooms


@pytest.mark.parametrize("path", [*DOCS, START], ids=lambda p: p.name)
def test_a_document_speaks_to_any_reader_on_any_machine(path: Path) -> None:
    said = text(path)
    assert not re.findall(r"(?<![\w.])/(?:work|tmp|root|home|Users|usr)\b", said)
    assert not re.findall(r"https?://(?!127\.0\.0\.1)", said)
    assert not re.findall(r"\b(?:TODO|FIXME|XXX|agents?|helpers?|issue \d+)\b", said, re.I)


# --- numbers --------------------------------------------------------------------------------------------------


def test_the_best_of_105_models_without_skill_is_as_good_as_the_formula_says() -> None:
    """Bailey and López de Prado (2014), eq. 1; an annual Sharpe ratio over n years errs by 1/sqrt(n)."""
    best = {years: f"{metrics.luck_threshold(1 / np.sqrt(years), 105):.2f}" for years in YEARS}
    first, second, third, fifth, tenth = (f"{sharpe} over {years}" for years, sharpe in best.items())
    assert f"{first} year, {second} years, {third}, {fifth} and {tenth}." in flat(VERDICT)


def test_the_strategy_of_the_readme_is_near_certain_alone_and_a_coin_flip_as_the_best_of_105() -> None:
    """Bailey and López de Prado (2014): normal returns of three years, here without any sampling."""
    n = 3 * metrics.SESSIONS
    normal = stats.norm.ppf((np.arange(n) + 0.5) / n)
    returns = normal / normal.std(ddof=1) + 1.54 / np.sqrt(metrics.SESSIONS)
    alone = metrics.probabilistic_sharpe(returns)
    chosen = metrics.probabilistic_sharpe(returns, benchmark=metrics.luck_threshold(1 / np.sqrt(3), 105))
    needed = metrics.luck_threshold(1.0, 105) ** 2
    said = flat(VERDICT)
    assert f"A Sharpe ratio of {metrics.sharpe(returns):.2f} over three years".lower() in said.lower()
    assert f"(probability {alone:.3f} that the true one is above zero)" in said
    assert f"the best of 105 ({chosen:.2f} that it is above luck's)" in said
    assert f"stays under 1.0 only with {needed:.1f} years" in said


def test_shuffled_validation_finds_skill_in_a_random_walk_and_the_walk_forward_does_not() -> None:
    steps, horizon = np.random.default_rng(0).standard_normal(1500), 20
    index = pd.bdate_range("2000-01-03", periods=1500, name="session")
    close = pd.Series(np.exp(np.cumsum(0.01 * steps)), index)
    features, y = indicators.compute(close.to_frame("close"))[0], forward_return(close, horizon)
    known = features.notna().all(axis=1) & y.notna()
    X, y = features[known].to_numpy(), y[known].to_numpy()
    forest = RandomForestRegressor(20, max_features=1 / 3, random_state=0)
    shuffled = metrics.r2(y, cross_val_predict(forest, X, y, cv=KFold(5, shuffle=True, random_state=0)))
    said = np.full(len(y), np.nan)
    for fold in WalkForward().split(len(y), horizon):
        said[fold.test] = forest.fit(X[fold.train], y[fold.train]).predict(X[fold.test])
    tested = np.isfinite(said)
    walked = metrics.r2(y[tested], said[tested])
    numbers = re.search(r"K-fold reports an R² of \+(\d\.\d), the walk-forward used here −(\d\.\d)", flat(VERDICT))
    assert numbers
    assert shuffled == pytest.approx(float(numbers[1]), abs=0.1)
    assert walked == pytest.approx(-float(numbers[2]), abs=0.1)


def test_thresholds_and_costs_in_the_documents_are_those_of_the_code() -> None:
    readme, contributing = flat(README), flat(CONTRIBUTING)
    assert f"a flat {Protocol().cost_bps:g} basis points per side" in flat(LIMITS)
    assert f'default verdict is "{skill.NO_EVIDENCE}"' in readme
    assert f"outer {100 * Protocol().winsorize:g} %" in contributing
    for number in (protocol.VERSION, run.FORMAT):
        assert isinstance(number, int)
    assert "`protocol.VERSION`" in contributing
    assert "`run.FORMAT`" in contributing
    assert f"adjusted p value of at most {significance.SIZE:g}" in contributing


def test_terms_and_notices_are_the_sources_own() -> None:
    said = flat(README)
    assert SOURCES["fred"].notice in said
    assert SOURCES["sample"].terms in flat(DATA)
    assert "not investment advice" in said


# --- the picture, the length, the release ---------------------------------------------------------------------


def test_the_readme_can_be_read_in_one_sitting() -> None:
    """One screen of promise, then links: tables and details are in docs/."""
    assert len(text(README).splitlines()) <= 130
    assert "| --- |" not in text(README)


def test_the_picture_is_one_screen_wide_and_light() -> None:
    body = (ROOT / "docs" / "report.png").read_bytes()
    assert body[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", body[16:20])[0] == 1280
    assert len(body) < 200_000


def test_the_changelog_opens_with_this_release() -> None:
    version = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["version"]
    first = re.search(r"^## \[?(\d+\.\d+\.\d+)\]? - (\d{4}-\d{2}-\d{2})$", text(CHANGELOG), re.M)
    assert first
    assert first[1] == version
