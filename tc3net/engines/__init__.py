"""Running tasks on other machines: Apache Beam, Dask, Spark. What a task is, callers know."""
