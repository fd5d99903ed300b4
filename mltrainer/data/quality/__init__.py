"""Is this data fit to be learned from? Rules about bars and macro series, and what they find in one of them."""

from mltrainer.data.quality.case import Finding
from mltrainer.data.quality.check import RULES, SEVERITIES, Quality, gatekeep, judge, quality, readable

__all__ = ["RULES", "SEVERITIES", "Finding", "Quality", "gatekeep", "judge", "quality", "readable"]
