"""An environment: its file, its model, its reference."""
