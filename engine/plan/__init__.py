"""From a list of steps to memory: buffers in an arena, args records, and the table the team walks."""
