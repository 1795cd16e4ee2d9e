"""Simulated features and annotations with THUMOS14's statistics; nothing made by it is called real."""
