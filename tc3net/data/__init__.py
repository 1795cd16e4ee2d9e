"""Videos on disk and in batches: schema and manifest, time base, subsets, what is drawn in a step, pipeline."""
