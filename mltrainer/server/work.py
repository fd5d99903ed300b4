"""One training in a process of its own: `python -m mltrainer.server.work JOB`."""

import os
import sys
import threading
import time

import psutil

from mltrainer.errors import MltrainerError
from mltrainer.evaluation import lifecycle, study
from mltrainer.server import jobs
from mltrainer.server.asking import told
from mltrainer.server.records import Job
from mltrainer.settings import settings
from mltrainer.trust import audit


def work(id_: str) -> None:
    """Do a training, if it is still to be done, and write how it ended."""
    job = jobs.claim(id_)
    if job is None:
        return
    threading.Thread(target=watch, args=(job,), daemon=True).start()
    with audit.acting(job.user):
        try:
            train(job)
        except Exception as error:
            jobs.note(id_, "failed", error=reason(error, id_))


def reason(error: Exception, id_: str) -> str:
    """What whoever asks is told of an error; where that is nothing, a number under which the log has the rest."""
    if isinstance(error, MltrainerError) and (words := told(error)):
        return words
    from mltrainer.dashboards.incidents import noted  # a process of its own has no log but a file

    return f"it broke; incident {noted(f'training {id_}')} in logs/incidents.log"


def train(job: Job) -> None:
    """Fetch, train, keep."""
    asked = job.request
    names = asked["tickers"]
    span = {name: asked[name] for name in ("start", "end", "horizon", "target")}
    data = study.matrix(names[0] if len(names) == 1 else names, **span)
    jobs.note(job.id, "progress", progress=0.3)
    result = lifecycle.model(asked["model"]).train(data)
    jobs.note(job.id, "progress", progress=0.9)
    jobs.note(job.id, "done", artifact=result.save(), result=result.to_dict())


def watch(job: Job) -> None:
    """End this process when the training takes more time or memory than one model may have on so many tickers."""
    here, me, begin = settings(), psutil.Process(), time.monotonic()
    seconds = here.task_seconds * len(job.request["tickers"])
    while True:
        time.sleep(0.5)
        if time.monotonic() - begin > seconds:
            why = f"it took more than {seconds:.0f} s (MLTRAINER_TASK_SECONDS)"
        elif me.memory_info().rss > here.task_megabytes * 2**20:
            why = f"it took more than {here.task_megabytes:.0f} MB (MLTRAINER_TASK_MEGABYTES)"
        else:
            continue
        jobs.note(job.id, "failed", error=why)
        os._exit(1)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(5)  # whoever looks at a page goes before whoever trains
    work(sys.argv[1])
