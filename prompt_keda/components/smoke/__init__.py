"""What is tried on objects of the toolkit's own: the smoke test, the acceptance suite, deep checks."""
