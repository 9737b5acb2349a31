"""A Keras Sequential model: the same model in both spellings, with the same weights and the same predictions.

`keras_model` and `fastnn_model` differ in little: the inputs are a parameter rather than a layer, `Rescaling` is `Scale`,
and what Keras takes in `compile` goes to `fit`. Both store a layer's weights as W of shape (n_in, n_out) and b, so they
go over as they are. From the same start weights and the same order of rows the losses of training agree too: those
printed beside ours are of Keras 3.15, made by tests/fixtures/make_keras.py.
"""

import numpy as np

import fastnn
from fastnn import SGD, Dense, Scale, Sequential

KERAS_LOSSES = (1.2176423155676674, 0.6251324432958615, 0.3516826150335711, 0.1952416534897766, 0.15771993525977301)


def keras_model():
    """Return the model as Keras spells it."""
    import keras

    model = keras.Sequential(
        [
            keras.Input(shape=(64,)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.SGD(learning_rate=0.5))
    return model


def fastnn_model():
    """Return the model as it is spelled here."""
    return Sequential([Scale(1 / 16), Dense(16, activation="relu"), Dense(10, activation="softmax")], n_features=64, dtype="float64")


def start_weights():
    """Return a list W, b, W, b as the `get_weights` of a Keras model gives it, drawn as Keras does: Glorot's uniform weights, biases of zero."""
    rng = np.random.default_rng(0)
    weights = []
    for n_in, n_out in ((64, 16), (16, 10)):
        limit = np.sqrt(6 / (n_in + n_out))
        weights += [rng.uniform(-limit, limit, (n_in, n_out)), np.zeros(n_out)]
    return weights


def set_keras_weights(net, weights):
    """Give a network the weights of a Keras model: pairs (W, b) instead of one list W, b, W, b."""
    net.set_weights(list(zip(weights[::2], weights[1::2])))


def train_fastnn(weights):
    """Return the network after five epochs, and their losses."""
    X_train, y_train = fastnn.load_digits()[:2]
    net = fastnn_model()
    set_keras_weights(net, weights)
    history = net.fit(X_train, y_train, loss="cross_entropy", optimizer=SGD(learning_rate=0.5), epochs=5, batch_size=32, shuffle=False, verbose=0)
    return net, history["loss"]


def train_keras(weights):
    """Return the Keras model after five epochs, and their losses."""
    X_train, y_train = fastnn.load_digits()[:2]
    model = keras_model()
    model.set_weights(weights)
    history = model.fit(X_train, y_train, epochs=5, batch_size=32, shuffle=False, verbose=0)
    return model, history.history["loss"]


def main():
    """Print the losses beside those of Keras."""
    net, losses = train_fastnn(start_weights())
    print("epoch  loss, ours      loss, Keras")
    for epoch, (ours, theirs) in enumerate(zip(losses, KERAS_LOSSES), start=1):
        print(f"{epoch:5}  {ours:.12f}  {theirs:.12f}")
    X_test, y_test = fastnn.load_digits()[2:]
    print(f"test accuracy {net.evaluate(X_test, y_test)['accuracy']:.4f}")


if __name__ == "__main__":
    main()
