"""Supervised training: network and head together minimise one objective by gradients.

The objective is (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2 (Mairal, NIPS
2016, eq. 7). The variables are the head (W and b), the anchors of all layers, which
are unit vectors, and optionally the logarithms of the betas. x is (features - mean) /
scale. The mean and the scale are constant during the training, so they are no more
than a choice of the origin of b and of the unit of alpha.
"""
