"""Input: validation of images, labels and weights, and conversion to one layout."""
