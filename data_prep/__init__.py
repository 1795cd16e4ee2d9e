"""Turns feature files and annotations into the sharded data sets that tc3net reads.

tc3net imports none of it but `features`, and that only where a user hands it raw feature files.
"""

import tc3net  # noqa: F401  # first, so that Ctrl-C is answered while the commands are imported
