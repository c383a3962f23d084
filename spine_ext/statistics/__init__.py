"""Statistics of tests, out of labels and scores alone."""
