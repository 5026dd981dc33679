"""Programs that run in the environments of peers: they import nothing of Edgesmith, and one another by plain names."""
