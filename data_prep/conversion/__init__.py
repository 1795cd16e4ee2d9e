"""From checked inputs to shards and manifest: plan, workers, writing, resuming."""
