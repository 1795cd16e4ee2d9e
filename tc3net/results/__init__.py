"""What an evaluation assesses and leaves on disk, and what is read back from there."""
