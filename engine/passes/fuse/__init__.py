"""Groups of nodes become one operator of ours."""
