"""Parameters of predictors that leave nothing to choose by held-out images."""

PLAIN = {"whitening": None, "flip_average": False, "normalize": 0.0}
