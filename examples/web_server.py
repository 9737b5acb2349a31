"""Predictions behind a web server: worker processes load one file and answer at the same time.

The application is a function after PEP 3333 (WSGI), which every web server for Python calls: gunicorn, say, with two workers and
four threads each, by

    gunicorn --workers 2 --threads 4 "examples.web_server:application('digits.safetensors')"

Here the standard library alone serves it, from forked processes that accept from one socket. A file of a network holds numbers and
names, no code, and its checksum is looked at: a worker that starts has the whole network or an error. A prediction takes
microseconds and lets other Python threads run meanwhile; the workers are the parallel part, so each predicts on one thread.
"""

import http.client
import json
import multiprocessing
import os
import socketserver
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np

import fastnn
from fastnn import Adam, Dense, Scale, Sequential

LARGEST = 1 << 20  # bytes of a request: memory is given to nobody who asks


def application(path):
    """Return the WSGI application of a file: rows are posted as JSON, outputs and the number of the process come back."""
    net = Sequential.load(path)

    def answer(environ, start_response):
        status, content = reply(net, environ)
        body = json.dumps(content).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return answer


def reply(net, environ):
    """Return a status and what to say."""
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed", {"error": "rows must be posted"}
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal() or int(length) > LARGEST:
        return "413 Content Too Large", {"error": f"a request must say its length, at most {LARGEST} bytes"}
    try:
        rows = json.loads(environ["wsgi.input"].read(int(length)))
        return "200 OK", {"outputs": net.predict(rows, n_threads=1).tolist(), "process": os.getpid()}
    except (TypeError, ValueError, RecursionError) as error:
        return "400 Bad Request", {"error": str(error)}


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64


class Handler(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, *args):
        """Say nothing."""


def work(server, path):
    """Load the file, as a worker of gunicorn does, and answer until the process is ended."""
    server.set_app(application(path))
    server.serve_forever()


def start(path, n_workers=2):
    """Return the port and the processes of a server on this machine."""
    server = make_server("127.0.0.1", 0, None, Server, Handler)
    workers = [multiprocessing.get_context("fork").Process(target=work, args=(server, path), daemon=True) for _ in range(n_workers)]
    for worker in workers:
        worker.start()
    server.socket.close()  # the workers have it
    return server.server_port, workers


def post(port, body):
    """Return the status and what a server says to bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def ask(port, rows):
    """Return the outputs for rows and the process that gave them."""
    status, content = post(port, json.dumps(np.asarray(rows).tolist()))
    if status != 200:
        raise ValueError(content["error"])
    return content["outputs"], content["process"]


def main():
    """Train, save, serve, and ask for every test image on its own, eight at a time."""
    X, y, X_test, y_test = fastnn.load_digits()
    net = Sequential([Scale(1 / 16), Dense(64, "relu"), Dense(10, "softmax")], n_features=64, seed=0)
    net.fit(X, y, optimizer=Adam(0.005), epochs=20, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.safetensors"
        net.save(path)
        port, workers = start(path)
        ask(port, X_test[:1])
        begin = time.perf_counter()
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda row: ask(port, [row]), X_test))
        seconds = time.perf_counter() - begin
        refused = post(port, "[[1, 2, 3]]")
        for worker in workers:
            worker.terminate()
            worker.join()
    outputs = np.array([rows[0] for rows, _ in answers], np.float32)
    print(f"{len(answers)} requests, 8 at a time, {len({process for _, process in answers})} processes, {len(answers) / seconds:.0f} a second")
    print(f"outputs with the bits of the network that was saved: {np.sum((outputs == net.predict(X_test)).all(axis=1))} of {len(answers)}")
    print(f"accuracy {np.mean(outputs.argmax(axis=1) == y_test):.4f}")
    print(f"three numbers in place of 64: {refused[0]}, {refused[1]['error']}")


if __name__ == "__main__":
    main()
