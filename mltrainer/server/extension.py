"""The interface for programs inside JupyterLab: the same addresses as in `serve`, for whoever holds Lab's own token."""

from typing import Any

from jupyter_server.extension.application import ExtensionApp

from mltrainer.server.api import handlers
from mltrainer.server.stream import Watch


class Interface(ExtensionApp):
    """Lab runs code for whoever may come in, so whoever may is a researcher here; it knows no other users."""

    name = "mltrainer"

    def initialize_settings(self) -> None:
        """Say who Lab's users are, and begin to watch."""
        watch = Watch()
        self.settings.update(mltrainer_role="researcher", mltrainer_watch=watch)
        assert self.serverapp is not None
        self.serverapp.io_loop.call_later(3.0, watch.begin)

    def initialize_handlers(self) -> None:
        """Offer the addresses."""
        self.handlers.extend(handlers())


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "mltrainer.server.extension", "app": Interface}]
