"""The second stage: what a trained model detects in its training videos is what another one learns from."""
