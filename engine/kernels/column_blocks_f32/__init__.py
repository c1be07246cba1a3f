"""Block-sparse float32 products: blocks of consecutive rows that share one k."""
