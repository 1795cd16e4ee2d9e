"""Helpers of the tests: oracles, cases, stand-ins, processes. No test imports another test."""
