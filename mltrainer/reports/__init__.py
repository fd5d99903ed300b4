"""Reports: one folder per run, with a page per family, an index, and a manifest that anybody can check."""

from mltrainer.reports.run import Run, export, report, runs
from mltrainer.reports.several import Survey, survey
from mltrainer.reports.verify import verify

__all__ = ["Run", "Survey", "export", "report", "runs", "survey", "verify"]
