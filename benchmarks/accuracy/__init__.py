"""How accurate quantised networks are: what is compared, on which data, by which methods."""
