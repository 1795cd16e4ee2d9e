"""What a person at a terminal sees: lines that fit, signs that its encoding has, progress, and Ctrl-C."""
