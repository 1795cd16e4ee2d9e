"""Everything a command reads, opened from one set of options: annotations, features, time bases."""
