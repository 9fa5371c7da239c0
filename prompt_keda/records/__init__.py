"""What is kept: runs, incidents and drills, on this machine; and the lock of a cluster."""
