"""A folder for each dependency of Prompt KEDA: its checks, its repairs and its names."""
