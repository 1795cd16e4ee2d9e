"""What every room needs and none owns: errors, flags as frozen dataclasses, files, the two stacks, signals, Beam."""
