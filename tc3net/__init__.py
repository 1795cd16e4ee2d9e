"""tc3net: 3C-Net for weakly-supervised temporal action localization, in TensorFlow/Keras."""

from tc3net.terminal.deferred import defer_imports, is_worker
from tc3net.terminal.interrupt import is_command, leave_at_once_while_importing

__version__ = "0.1.0"

if is_command() or is_worker():
    defer_imports()
if is_command():
    leave_at_once_while_importing()
