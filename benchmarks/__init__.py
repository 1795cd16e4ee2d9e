"""Measurements, never part of the tests; the last line of each is one JSON object."""
