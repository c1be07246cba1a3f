"""Products and look-ups of quantised weights become operators that take the integers themselves."""
