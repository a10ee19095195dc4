"""Training by gradients: network and head minimise one objective together.

(1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2 (Mairal, NIPS 2016, eq. 7), over
the head W and b, the anchors of all layers, which are unit vectors, and on request the
logarithms of the betas. x are the features minus a mean over a scale; both are
constants of the training, so that the mean moves b and the scale the unit of alpha.
"""
