"""Folders that are written so that nothing already there is lost: staging, locks, replacement."""
