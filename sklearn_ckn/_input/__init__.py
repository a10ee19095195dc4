"""Input: validation and conversion of images, labels and sample weights."""
