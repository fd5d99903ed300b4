"""What this installation has, and the doors to its notebooks and pages."""

from collections.abc import Callable
from typing import Annotated

import typer

from mltrainer.cli.terminal import Json, Out, app, document, say, table
from mltrainer.errors import MltrainerError


@app.command()
def doctor(
    security: Annotated[bool, typer.Option("--security", help="say what is protected, and what is not")] = False,
    json_: Json = False,
) -> int:
    """Say what this installation has: mode, keys, providers, what is kept, state, extras."""
    if security:
        return _security(json_)
    import shutil
    from importlib.metadata import version

    from mltrainer import blobstore
    from mltrainer.data.providers import cache, client
    from mltrainer.models import catalog
    from mltrainer.settings import settings
    from mltrainer.trust import audit

    here = settings()
    folder = next(path for path in (here.home, *here.home.absolute().parents) if path.exists())
    checks: dict[str, Callable[[], object]] = {
        "mltrainer": lambda: version("mltrainer"),
        "mode": lambda: here.data_mode,
        "Polygon key": lambda: "present" if here.polygon_api_key else "absent",
        "FRED key": lambda: "present" if here.fred_api_key else "absent",
        "Polygon": lambda: client.standing("polygon"),
        "FRED": lambda: client.standing("fred"),
        "kept answers": lambda: cache.summary()["kept answers"],
        "newest data": lambda: cache.summary()["newest data"],
        "free disk": lambda: f"{shutil.disk_usage(folder).free / 2**30:.1f} GB",
        "state folder": lambda: here.home,
        "audit trail": lambda: f"{audit.head().size} entries, {len(audit.verify())} findings",
        "state": lambda: "can be written" if blobstore.put(b"doctor") else "",  # once there is a database beside it
        "models": lambda: f"{sum(s.available for s in catalog.specs())} of {len(catalog.specs())} available",
        "missing": lambda: ", ".join(s.name for s in catalog.specs() if not s.available) or "nothing",
    }
    rows, broken = {}, False
    for name, check in checks.items():
        try:
            rows[name] = str(check())
        except MltrainerError as error:
            rows[name], broken = f"PROBLEM: {error}", True
    say(document(rows) if json_ else table(["what", "found"], rows.items()))
    return 1 if broken else 0


@app.command()
def health(
    tell: Annotated[bool, typer.Option("--tell", help="tell the trail, and whoever gets alerts, what changed")] = False,
    json_: Json = False,
) -> int:
    """Measure every part of this installation against its limits; exit 1 if one has failed."""
    from mltrainer.operations import health as parts

    if tell:
        parts.told()
    rows = parts.health()
    shown = [(p.state, p.name, p.sentence().partition(": ")[2]) for p in rows]
    told = [vars(p) | {"state": p.state} for p in rows]
    say(document(told) if json_ else table(["state", "part", "found"], shown))
    return 1 if any(p.state == "failed" for p in rows) else 0


def _security(json_: bool) -> int:
    from mltrainer.operations.security import protections

    rows = protections()
    heads = ["what", "protected", "why"]
    say(document(rows) if json_ else table(heads, [(r.what, r.protected, r.why) for r in rows]))
    return 1 if any(r.protected == "no" and "chmod" in r.why for r in rows) else 0


@app.command()
def lab(port: Annotated[int | None, typer.Option(help="port; default Jupyter's own choice")] = None) -> None:
    """Open JupyterLab on the notebooks, for researchers."""
    from mltrainer.server.lab import lab as start_lab

    start_lab(port)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="port; 0 takes any free one")] = 8866,
    out: Out = None,
    open_: Annotated[bool, typer.Option("--open", help="open a browser")] = False,
) -> None:
    """Serve the dashboards to people who may look and choose, and nothing else."""
    from mltrainer.server.serve import serve as start_serve

    start_serve(port, out=out, open_browser=open_)
