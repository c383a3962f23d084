"""Distances and scores between sets of images, given a detector. Knows neither the GAN nor radiographs."""
