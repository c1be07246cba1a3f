"""Movement without computing is merged or dropped, and kept away from rounding."""
