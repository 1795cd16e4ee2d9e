"""Files that NumPy, Python or PyTorch pickled, read without executing them."""
