"""The one exception type that a user's input can cause.

An error message here always states what was found, what was expected, and the cure, and names the file or video.
Anything else that is raised is a bug of ours and keeps its traceback.
"""


class UserError(ValueError):
    """Input, configuration or files that the user can correct."""
