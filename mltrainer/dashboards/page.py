"""What all pages share: mode banner, controls that narrow each other, guarded callbacks, provenance, an address."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets

from mltrainer import views
from mltrainer.dashboards.address import mark, query
from mltrainer.dashboards.incidents import guarded
from mltrainer.dashboards.pictures import Picture
from mltrainer.trust.provenance import notices

Options = list[tuple[str, str]]  # what a control shows, and its value


class Page(widgets.VBox):
    """A page: banner, one bar of controls, its parts, and where its numbers come from.

    A subclass names its `CONTROLS`, gives its parts to this constructor once it has read what it shows, offers choices
    in `settle` and writes into its parts in `fill`. Both run guarded, at first and after every choice.

    Parameters
    ----------
    parts : what stands between the controls and the foot, in order; `HTML` and `Picture` are emptied on a failure.
    state : address of the view, control name in lower case -> value; untrusted.
    """

    CONTROLS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parts: Sequence[widgets.Widget], state: Mapping[str, str]) -> None:
        self.banner, self.notice, self.foot = (widgets.HTML() for _ in range(3))
        self.parts = list(parts)
        self.controls = {name: widgets.Dropdown(description=name) for name in self.CONTROLS}
        bar = widgets.Box(list(self.controls.values()))
        bar.add_class("controls")
        super().__init__([self.banner, *([bar] if self.controls else []), self.notice, *self.parts, self.foot])
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
    def read(cls, state: Mapping[str, str], out: str | Path | None) -> widgets.Widget:
        """Read what the page shows and make it; a subclass that has nothing to show returns `empty`."""
        raise NotImplementedError

    def settle(self, state: Mapping[str, str]) -> None:
        """Offer in each control what the ones before it leave, and keep what `state` says where it is on offer."""

    def fill(self) -> None:
        """Write into the parts what the controls point at."""

    @guarded
    def choose(self, change: object = None, *, state: Mapping[str, str] | None = None) -> None:
        """Settle the controls after one of them moved, then show what they point at."""
        if self.settling:
            return
        self.settling = True
        try:
            self.settle(self.state if state is None else state)
        finally:
            self.settling = False
        self.notice.value = ""
        self.fill()

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
    return kind.read(query(), out)


def clear(part: widgets.Widget) -> None:
    """Empty a part; what is neither text nor picture keeps what it has."""
    if isinstance(part, Picture):
        part.clear()
    elif isinstance(part, widgets.HTML):
        part.value = ""


def empty(lede: str, advice: str = "") -> widgets.HTML:
    """A page without content: what is missing as text, and what to do as HTML."""
    return widgets.HTML(f'<p class="lede">{escape(lede)}</p>{advice and f"<p>{advice}</p>"}')


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
