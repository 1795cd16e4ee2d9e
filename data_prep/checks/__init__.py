"""Whether a video can be used, and every rule for what is odd in its annotations or features."""
