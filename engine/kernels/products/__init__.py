"""What all matrix products share: arguments, dense strips, the epilogue."""
