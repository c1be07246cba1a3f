"""One module a family of operators: how each becomes steps."""
