"""The team of threads, and how it walks a plan."""
