"""What a task does: an environment is opened, the work is done, a result comes back."""
