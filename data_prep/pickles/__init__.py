"""Files that NumPy pickled, read without executing them."""
