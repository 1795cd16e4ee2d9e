"""Turns feature files and annotations into the sharded data sets that tc3net reads.

tc3net imports none of it but `features`, and that only where a user hands it raw feature files.
"""
