"""A target photo to a kNN search to people."""
