"""Photos to faces to the bulk index."""
