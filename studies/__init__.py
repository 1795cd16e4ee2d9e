"""Research scripts: what a question needed once, with the page that reports it. `benchmarks` measures speed."""
