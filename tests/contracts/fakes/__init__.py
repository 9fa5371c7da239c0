"""Small doubles of the clients, for unit tests. The contract suites run on them and on the real servers."""
