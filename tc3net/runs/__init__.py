"""The run folder: a trained model and all that is needed to use it or to train it again."""
