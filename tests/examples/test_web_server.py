"""A web server's workers: one file, forked processes, requests at the same time, the right bits; what is wrong gets a sentence."""

import json
import multiprocessing
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import numpy as np
import pytest

from examples import web_server
from fastnn import Dense, Sequential


@pytest.fixture(scope="module")
def net():
    return Sequential([Dense(20, "relu"), Dense(3, "softmax")], n_features=5, seed=1)


@pytest.fixture(scope="module")
def path(net, tmp_path_factory):
    net.save(path := tmp_path_factory.mktemp("server") / "net.safetensors")
    return path


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers are forked")
def test_workers_answer_at_the_same_time_with_the_bits_of_the_file(net, path):
    X = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    expected = net.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
        port, workers = web_server.start(path)
    try:
        with ThreadPoolExecutor(8) as clients:
            answers, seen = [], set()
            for _ in range(50):  # until both have answered
                answers += clients.map(lambda i: (i, *web_server.ask(port, X[i : i + 2])), range(0, 60, 2))
                seen = {process for _, _, process in answers}
                if len(seen) == 2:
                    break
        assert seen == {worker.pid for worker in workers} and os.getpid() not in seen
        for i, rows, _ in answers:
            np.testing.assert_array_equal(np.array(rows, np.float32), expected[i : i + 2])
        for body, status in ((b"[[1, 2]]", 400), (b"nonsense", 400), (b"[" * 10_000, 400), (b'[["a"]]', 400), (b"[[1e400, 0, 0, 0, 0]]", 400), (b"", 400)):
            answer, content = web_server.post(port, body)
            assert (answer, list(content)) == (status, ["error"]) and "\n" not in content["error"]
        assert all(worker.is_alive() for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def test_the_application_is_wsgi(net, path):
    app = web_server.application(path)

    def call(body, **other):
        environ = {"wsgi.input": BytesIO(body), "REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "QUERY_STRING": "", **other}
        setup_testing_defaults(environ)
        answered = []
        parts = validator(app)(environ, lambda status, headers, *_: answered.append((status, dict(headers))))
        content = b"".join(parts)
        parts.close()
        assert int(answered[0][1]["Content-Length"]) == len(content)
        return answered[0][0], json.loads(content)

    status, content = call(b"[[1, 2, 3, 4, 5]]")
    assert status == "200 OK"
    np.testing.assert_array_equal(np.array(content["outputs"], np.float32), net.predict([[1, 2, 3, 4, 5]]))
    assert call(b"", REQUEST_METHOD="GET")[0].startswith("405")
    assert call(b"[]", CONTENT_LENGTH=str(2**20 + 1))[0].startswith("413")
