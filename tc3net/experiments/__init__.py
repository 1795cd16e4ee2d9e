"""Many trainings or settings compared: the paper's ablations, and the search for detection settings."""
