"""From a trained model and videos to raw scores, which are kept: all that follows can be redone without the model."""
