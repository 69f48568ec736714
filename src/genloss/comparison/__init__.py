"""Many runs under one locked plan: the grid of variants and seeds, its engine, statistics and report."""
