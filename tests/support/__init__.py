"""Helpers of the tests: oracles, cases, stand-ins, processes. No test imports another test."""

from pathlib import Path

import pytest

# Their assertions say what was found, as those of tests do.
pytest.register_assert_rewrite(*(f"{__name__}.{path.stem}" for path in Path(__file__).parent.glob("[a-z]*.py")))
