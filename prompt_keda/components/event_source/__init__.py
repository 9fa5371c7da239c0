"""Where the events wait: Prompt Redis, its streams and consumer groups."""
