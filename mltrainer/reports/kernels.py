"""Kernels that begin with everything imported: each is forked from a server that has imported once for all of them."""

import gc
import os
from collections.abc import Mapping
from multiprocessing import get_context
from typing import Any

import plotly.graph_objects as go
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from mltrainer.evaluation.engine import clean_start, leave_with_parent, take_environment

# nbformat is what showing a figure imports; how to show one plotly finds out when it is first asked, in the kernel.
IMPORTS = [__name__, "mltrainer.reports.family", "mltrainer.reports.validation", "nbformat", "arch.bootstrap"]
go.Figure(go.Scatter(), go.Layout(title_text="")).to_dict()  # the first figure of a process reads plotly's schema


class ForkedKernelManager(AsyncKernelManager):
    """A kernel manager for nbclient and papermill; its process, and the server, are gone with the process it is in."""

    async def _async_pre_start_kernel(self, **options: Any) -> Any:
        self.provisioner = self.provisioner or _ForkedProvisioner(
            kernel_id="", kernel_spec=self.kernel_spec, parent=self
        )
        return await super()._async_pre_start_kernel(**options)


class _ForkedProvisioner(LocalProvisioner):
    """Begins a kernel by a fork of the server instead of a new interpreter; all else is as usual."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        server = get_context("forkserver")
        server.set_forkserver_preload(IMPORTS)
        manager: Any = self.parent
        given = (manager.connection_file, options["env"], options.get("cwd"))
        process = server.Process(target=_kernel, args=given, daemon=True)
        with clean_start():  # the server has no threads of its own, and does not run the script of who asks
            process.start()
        popen: Any = _Process(process)
        self.process, self.pid, self.pgid = popen, process.pid, process.pid
        return self.connection_info


class _Process:
    """The part of `subprocess.Popen` that a provisioner uses, for a process of multiprocessing."""

    stdin = stdout = stderr = None

    def __init__(self, process: Any) -> None:
        self.process, self.kill, self.terminate = process, process.kill, process.terminate

    def poll(self) -> int | None:
        code: int | None = self.process.exitcode
        return code

    def wait(self) -> int | None:
        self.process.join()
        return self.poll()

    def send_signal(self, signum: int) -> None:
        os.kill(self.process.pid, signum)


def _kernel(connection: str, environment: Mapping[str, str], folder: str | None) -> None:
    """Body of a kernel, in a session of its own: what is sent to all of its processes reaches no other."""
    os.setsid()
    gc.freeze()  # what was imported is not garbage, and looking at it would copy its pages
    leave_with_parent()  # the server lasts as long as any kernel of it
    take_environment(environment)
    os.chdir(folder or os.curdir)
    IPKernelApp.launch_instance(argv=["-f", connection], parent_handle=os.getppid())
