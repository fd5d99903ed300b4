"""Reports: one folder per run, with a page per family, an index, and a manifest that anybody can check."""

from mltrainer.reports.folder import Run, export, runs
from mltrainer.reports.run import report
from mltrainer.reports.several import Survey, survey
from mltrainer.reports.verify import verify

__all__ = ["Run", "Survey", "export", "report", "runs", "survey", "verify"]
