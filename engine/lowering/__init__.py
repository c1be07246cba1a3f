"""The only room that sees both the graph and the kernels: operators to steps, layouts, kernel choice."""

from engine.lowering.lower import lower

__all__ = ["lower"]
