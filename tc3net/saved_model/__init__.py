"""The exported SavedModel: signatures, checks of requests, warm-up, the files that a server needs beside it."""
