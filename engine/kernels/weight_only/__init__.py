"""Float32 activations by weights of 8 or 4 bits, which become float32 on their way into the registers."""
