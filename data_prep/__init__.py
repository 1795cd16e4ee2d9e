"""Turns feature files and annotations into the sharded data sets that tc3net reads; tc3net never imports it."""
