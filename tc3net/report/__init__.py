"""The report of an evaluation or a prediction: one HTML page that opens offline. `python -m tc3net.report RUN`."""

from tc3net.report.content import ReportInput, facts_of, load_input
from tc3net.report.page import write_report
from tc3net.report.video_files import VideoFiles

__all__ = ["ReportInput", "VideoFiles", "facts_of", "load_input", "write_report"]
