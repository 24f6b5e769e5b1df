"""What is run: configurations, presets, methods."""
