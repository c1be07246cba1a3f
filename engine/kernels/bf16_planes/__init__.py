"""float32 as sums of bfloat16: what tiles of bfloat16 multiply."""
