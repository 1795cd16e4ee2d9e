"""Loss terms of other methods, off unless their weight is given; docs/methods.md has their equations and sources."""
