"""Input: images, labels and weights, validated and brought into one form."""
