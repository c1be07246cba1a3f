"""Convolutions become products over windows of pixels, and images keep their features last between them."""
