"""What the subscribers of a scenario do, one file each; ``registry`` has them by name."""
