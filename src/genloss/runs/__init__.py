"""A recipe made into a run: schema, building, the folder; train, evaluate, sample."""
