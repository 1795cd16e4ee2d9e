"""Modules such as a user gives to --extensions: outside the packages, and known to nothing in them."""
