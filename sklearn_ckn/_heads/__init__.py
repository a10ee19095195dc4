"""Linear heads on wide features: ridge, linear SVM and logistic regression.

The objective is (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2 (Mairal, NIPS
2016, eq. 7). x_i are the features, centred and divided by their root mean square norm.
For classification, y_i is +1 for the class of the sample and -1 for the other classes;
the loss is (y - f)^2 / 2 or max(0, 1 - y f)^2 / 2, summed over the classes, or the
multinomial log loss.
"""
