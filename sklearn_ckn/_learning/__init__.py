"""Learning of anchors: patches, clustering, and a cache of what was learned."""
