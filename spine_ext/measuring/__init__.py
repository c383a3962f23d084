"""What ties metrics to networks, data sets and runs."""
