"""A pytest plugin that lets scikit-learn's own tests of its MLPs test fastnn's.

pytest --pyargs sklearn.neural_network.tests.test_mlp -p tests.fastnn.sklearn_plugin
"""

import sklearn.neural_network

import fastnn


def pytest_configure(config):
    """Put the estimators in the place of scikit-learn's, before its tests are collected."""
    sklearn.neural_network.MLPClassifier = fastnn.MLPClassifier
    sklearn.neural_network.MLPRegressor = fastnn.MLPRegressor
