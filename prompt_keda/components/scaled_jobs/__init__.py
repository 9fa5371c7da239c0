"""The ScaledJobs of the instruments, and the Jobs that KEDA makes for them."""
