"""Container images: where they come from, and whether they can be pulled."""
