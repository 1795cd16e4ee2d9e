"""tc3net: 3C-Net for weakly-supervised temporal action localization, in TensorFlow/Keras."""

from tc3net.terminal.interrupt import leave_at_once_while_importing

__version__ = "0.1.0"

leave_at_once_while_importing()  # where one of our commands is the program; what they import takes seconds
