"""The layers of the heads of other methods; imported when a network has them, since they import Keras."""
