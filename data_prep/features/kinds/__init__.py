"""The kinds of files that arrays lie in, a module each; `data_prep.features.containers` has the table of them."""
