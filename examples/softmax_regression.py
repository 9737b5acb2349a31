"""Softmax regression: one softmax layer that reads handwritten digits.

Logistic regression for more than two classes: a score for each class, linear in the pixels, and softmax makes
probabilities of the scores. No hidden layer is needed for most of the embedded 8 x 8 digits; what is left, the curves
that no single template fits, is what hidden layers are for.
"""

import fastnn
from fastnn import Adam, Dense, Scale, Sequential


def train(epochs=30):
    """Return the trained network and its test accuracy."""
    X_train, y_train, X_test, y_test = fastnn.load_digits()
    net = Sequential([Scale(1 / 16), Dense(10, "softmax")], n_features=64)
    net.fit(X_train, y_train, optimizer=Adam(learning_rate=0.01), epochs=epochs, batch_size=32, verbose=0)
    return net, net.evaluate(X_test, y_test)["accuracy"]


def main():
    """Print the test accuracy, and which digits are taken for which."""
    net, accuracy = train()
    X_test, y_test = fastnn.load_digits()[2:]
    labels = net.predict(X_test).argmax(axis=1)
    print("               ours    at least")
    print(f"test accuracy  {accuracy:.4f}  0.93")
    print("wrong:", ", ".join(f"{label} for {true}" for true, label in zip(y_test, labels) if true != label))


if __name__ == "__main__":
    main()
