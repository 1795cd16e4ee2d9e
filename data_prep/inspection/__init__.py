"""What `data_prep.inspect` finds out and shows: of raw inputs, and of a converted data set."""
