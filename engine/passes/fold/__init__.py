"""Constants that are only used as f32 are computed once."""
