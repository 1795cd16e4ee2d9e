"""Videos that have not ended yet: files that grow, streams, cameras; and their features as they come."""
