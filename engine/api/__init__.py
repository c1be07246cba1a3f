"""What users call: Engine, schedulers, explain, and how a model's name becomes a file."""
