"""Pictures with matplotlib: timelines of a video, curves, and the figures of an error analysis."""
