"""What an extraction is made of, in words that any process can open, and the extraction on engines."""
