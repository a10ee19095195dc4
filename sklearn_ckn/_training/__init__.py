"""Supervised training of a network and its head, by stochastic gradient descent.

The objective is (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2 (Mairal, NIPS
2016, eq. 7). It is minimised over the weights W and intercepts b of the head, the
anchors of all layers, which are unit vectors, and optionally the logarithms of the
betas. x = (features - mean) / scale. Gradients take the mean and the scale as
constants: the mean only shifts b, and the scale only sets the unit of alpha.
"""
