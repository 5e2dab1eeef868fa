"""Score tables and pictures as one HTML page that works offline.

It takes arrays, names and numbers, and knows no estimator, frame or tensor.
"""

from gatewise.report import figures
from gatewise.report.page import Report
from gatewise.report.sentences import TaggedSentence

__all__ = ["Report", "TaggedSentence", "figures"]
