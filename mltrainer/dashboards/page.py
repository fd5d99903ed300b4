"""What all pages share: mode banner, controls that narrow each other, guarded callbacks, provenance, an address."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets

from mltrainer import views
from mltrainer.dashboards import answers
from mltrainer.dashboards.address import mark, preheating, query
from mltrainer.dashboards.answers import Answer
from mltrainer.dashboards.incidents import guarded
from mltrainer.dashboards.pictures import Picture
from mltrainer.errors import MltrainerError
from mltrainer.settings import settings
from mltrainer.trust.provenance import notices

Options = list[tuple[str, str]]  # what a control shows, and its value


@dataclass(frozen=True)
class Basis:
    """What a page is read from, as `answers.basis` hashes it: before it was read, and whenever `now` is called.

    With "" no answers are kept. `out` is the folder of runs that was asked for.
    """

    began: str = ""
    now: Callable[[], str] = str
    out: str | Path | None = None


class Page(widgets.VBox):
    """A page: banner, one bar of controls, its parts, and where its numbers come from.

    A subclass names its notebook and its `CONTROLS`, gives its parts to this constructor once it has read what it
    shows, offers choices in `settle` and writes into its parts in `fill`. Both run guarded, at first and after every
    choice. What a served page has shown is kept as its answer (`answers`), and shown again while it holds.

    Parameters
    ----------
    parts : what stands between the controls and the foot, in order; `HTML` and `Picture` are emptied on a failure.
    state : address of the view, control name in lower case -> value; untrusted.
    basis : what the page is read from.
    """

    NAME: ClassVar[str] = ""  # of its notebook
    CONTROLS: ClassVar[tuple[str, ...]] = ()
    EVERY: ClassVar[int] = 0  # seconds after which a served page that is looked at reads again; 0 is never

    def __init__(self, parts: Sequence[widgets.Widget], state: Mapping[str, str], basis: Basis = Basis()) -> None:
        self.basis = basis
        self.banner, self.notice, self.foot = (widgets.HTML() for _ in range(3))
        self.parts = list(parts)
        self.controls = {name: widgets.Dropdown(description=name) for name in self.CONTROLS}
        bar = widgets.Box(list(self.controls.values()))
        bar.add_class("controls")
        self.began, self.reading = _clock(), widgets.HTML()
        above = [self.banner, *([bar] if self.controls else []), *([self._again()] if self.EVERY else []), self.notice]
        super().__init__([*above, *self.parts, self.foot])
        self.settling = False
        for control in self.controls.values():
            control.observe(self.choose, "value")
        self.choose(state=state)

    @classmethod
    def show(cls, out: str | Path | None = None) -> widgets.Widget:
        """The page as its visitor's address asks for it; what goes wrong on the way is an incident number.

        Parameters
        ----------
        out : the folder of runs; default as for `report`, or the one that the server was started for.
        """
        return _opened(cls, out)

    @classmethod
    def read(cls, state: Mapping[str, str], out: str | Path | None, basis: Basis) -> widgets.Widget:
        """Read what the page shows and make it; a subclass that has nothing to show returns `empty`."""
        raise NotImplementedError

    def load(self) -> None:
        """Read anew what the page holds; an error leaves all as it was."""

    def _again(self) -> widgets.Widget:
        """When the page was read, and a button to read again; on a served page the browser presses it, too."""
        button = widgets.Button(description="Read again")
        button.add_class("refresh")
        button.on_click(self.refresh)
        self._say("")
        row = widgets.HBox([self.reading, button])
        row.add_class("reading")
        return row

    def _say(self, more: str) -> None:
        said = f"Read {self.began}{more and f'; {more} {_clock()}'}."
        self.reading.value = f'<p class="quiet" data-every="{self.EVERY}">{escape(said)}</p>'

    @guarded
    def refresh(self, _click: object = None) -> None:
        """Read again where something has changed; what cannot be read leaves what stands, under its own time."""
        now = self.basis.now()
        if now and now == self.basis.began and not self.notice.value:
            self._say("nothing has changed up to")
            return
        try:
            self.load()
        except MltrainerError as error:
            self.notice.value = (
                f'<p class="card warning" role="status">It cannot be read again: {escape(str(error))}</p>'
            )
            self._say("reading again failed at")
            return
        self.basis, self.began = replace(self.basis, began=now), _clock()
        with ExitStack() as unsent:  # what stands gives way to what was read, not to nothing first
            for part in [*self.parts, self.foot]:
                unsent.enter_context((part.text if isinstance(part, Picture) else part).hold_sync())
            self.choose(anew=True)
        self._say("")

    def settle(self, state: Mapping[str, str]) -> None:
        """Offer in each control what the ones before it leave, and keep what `state` says where it is on offer."""

    def fill(self) -> None:
        """Write into the parts what the controls point at."""

    @guarded
    def choose(self, change: object = None, *, state: Mapping[str, str] | None = None, anew: bool = False) -> None:
        """Settle the controls after one of them moved, then show what they point at; `anew` shows no kept answer."""
        if self.settling:
            return
        self.settling = True
        try:
            self.settle(self.state if state is None else state)
        finally:
            self.settling = False
        self.notice.value = ""
        if anew or not self._restore(state):
            self.clear()
            self.fill()
            self._keep(state)

    def _restore(self, query: Mapping[str, str] | None) -> bool:
        """Show the kept answer of the view that is chosen, if there is one that still holds.

        It is kept for the address that the visitor came with, too, so that the next one needs no kernel.
        """
        now = self.basis.now()
        found = answers.stored(self.NAME, answers.canonical(self.state), now) if now else None
        if found is None or len(found.parts) != len(self.parts):
            return False
        self.banner.value, self.foot.value = found.banner, found.foot
        for part, html in zip(self.parts, found.parts, strict=True):
            restore(part, html)
        if missing := [a for a in self._addresses(query) if answers.stored(self.NAME, a, now) is None]:
            answers.keep(found, *missing)
        return True

    def _addresses(self, query: Mapping[str, str] | None) -> list[str]:
        """The address that the visitor came with, where all of it was honored; a choice has none of its own."""
        asked = {name: value for name, value in (query or {}).items() if name not in answers.VIEWER}
        return [] if query is None or not asked.items() <= self.state.items() else [answers.canonical(query)]

    def _keep(self, query: Mapping[str, str] | None) -> None:
        """Keep what is shown, also for the address that the visitor came with where all of it was honored.

        A page holds what it last read: once something has changed since, it keeps nothing until it reads again.
        """
        if not self.basis.began or self.basis.now() != self.basis.began:
            return
        controls = [[name, [list(o) for o in c.options], c.value] for name, c in self.controls.items()]
        made = datetime.now(UTC).isoformat(timespec="seconds")
        shown = self.banner.value, controls, [html_of(part) for part in self.parts], self.foot.value, self.EVERY
        answer = Answer(self.NAME, answers.canonical(self.state), self.basis.began, made, *shown)
        answers.keep(answer, *self._addresses(query))

    @property
    def state(self) -> dict[str, str]:
        """The values of the controls, by name in lower case."""
        return {name.lower(): str(control.value) for name, control in self.controls.items()}

    def offer(self, name: str, options: Options, state: Mapping[str, str], first: str = "") -> str:
        """Put options into a control and choose: what `state` says, else `first`, else the first option."""
        control, values = self.controls[name], [value for _, value in options]
        if list(control.options) != options:
            control.options = options
        choice = state.get(name.lower())
        control.value = choice if choice in values else first or (values[0] if values else None)
        return str(control.value)

    def section(self, name: str, state: str, make: Callable[[], str]) -> str:
        """A part that is costly to make and rests on data alone: kept by itself, so that a new run does not undo it."""
        if not self.basis.began:
            return make()
        page, now = f"{self.NAME}/{name}", answers.basis("data", runs=False)
        found = answers.stored(page, state, now)
        if found is not None:
            return found.parts[0]
        html, made = make(), datetime.now(UTC).isoformat(timespec="seconds")
        if answers.basis("data", runs=False) == now:
            answers.keep(Answer(page, state, now, made, "", [], [html], ""))
        return html

    def fail(self, message: str) -> None:
        """Show the incident and nothing else, so that no old result is taken for the one that was chosen."""
        self.clear()
        self.notice.value = message

    def clear(self) -> None:
        """Empty every part, and the foot."""
        for part in [*self.parts, self.foot]:
            clear(part)


@guarded
def _opened(kind: type[Page], out: str | Path | None) -> widgets.Widget:
    if preheating():  # nobody waits yet: what the next reader asks for first may be made now
        with suppress(MltrainerError):
            basis = _basis(kind, out)
            if basis.began and answers.stored(kind.NAME, "", basis.began) is None:
                kind.read({}, out, basis)
    state = query()
    return kind.read(state, out, _basis(kind, out))


def _basis(kind: type[Page], out: str | Path | None) -> Basis:
    if not kind.NAME or "MLTRAINER_SERVE" not in os.environ:
        return Basis(out=out)
    now = partial(answers.basis, kind.NAME, out)
    return Basis(now(), now, out)


def _clock() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def html_of(part: widgets.Widget) -> str:
    """What a part shows, as HTML; nothing of a part that is neither text nor picture."""
    if isinstance(part, Picture):
        return f'<div class="jupyter-widgets picture">{part.text.value}</div>' if part.text.value else ""
    return str(part.value) if isinstance(part, widgets.HTML) else ""


def restore(part: widgets.Widget, html: str) -> None:
    """Put what `html_of` said back into a part."""
    if isinstance(part, Picture):
        part.put(html.removeprefix('<div class="jupyter-widgets picture">').removesuffix("</div>"))
    elif isinstance(part, widgets.HTML):
        part.value = html


def clear(part: widgets.Widget) -> None:
    """Empty a part; what is neither text nor picture keeps what it has."""
    if isinstance(part, Picture):
        part.clear()
    elif isinstance(part, widgets.HTML):
        part.value = ""


def empty(lede: str, advice: str = "", more: str = "") -> widgets.HTML:
    """A page without content: what is missing as text, what to do and more as HTML; of which data, all the same."""
    banner = views.banner(settings().data_mode, "")
    return widgets.HTML(f'{banner}<p class="lede">{escape(lede)}</p>{advice and f"<p>{advice}</p>"}{more}')


def hidden(others: Mapping[str, str]) -> str:
    """Runs that are not shown, each with why; nothing where all are."""
    rows = [[name, why] for name, why in others.items()]
    return fold(f"{len(rows)} of the runs not shown", views.table(rows, ["Folder", "Why"])) if rows else ""


def fold(summary: str, body: str) -> str:
    """A part that opens on a tap; `summary` is text, `body` HTML."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def foot(sources: Iterable[Mapping[str, Any]], state: Mapping[str, str], line: str = "") -> str:
    """Sources with their terms, one quiet line of HTML, and where the page stands, for its address.

    Parameters
    ----------
    sources : name, endpoint, note and terms of what providers sent.
    """
    known = list(sources)
    rows = [[s["name"], s["endpoint"], f"{s['note']}; {s['terms']}"] for s in known]
    table = fold("Where these numbers come from", views.table(rows, ["Series", "From", "Notes and terms"]))
    asides = views.asides(notices(s["note"] for s in known))
    quiet = f'<p class="quiet">{line}</p>' if line else ""
    return f"{table if rows else ''}{asides}{quiet}{mark(state)}"
