"""Learning of the anchors: patch sampling, k-means, and a cache of the results."""
