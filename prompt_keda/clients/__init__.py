"""One file an outside system; each translates third-party exceptions into the errors of this project."""
