"""Runs every example as a reader would and writes examples/README.md, a course from one neuron to MNIST.

`python examples/gallery.py` needs the extras `plot`, `scipy` and `sklearn`, and MNIST as `fastnn train mnist` does.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent

COURSE = {  # example: title, what it teaches, arguments that draw its picture
    "functions": ("A layer is a function", "Layers are plain functions of arrays, chained by hand, and rows or columns make no difference.", ""),
    "neuron": ("One neuron", "A neuron weighs its inputs, adds a bias and squashes the sum; that is already a spam filter.", ""),
    "logistic_regression": ("Logistic regression", "The simplest network is an old statistical model, and two ways of training find its one minimum.", ""),
    "softmax_regression": ("Softmax regression", "One layer with as many outputs as classes reads most handwritten digits.", ""),
    "mazur": ("Backpropagation step by step", "Forward pass, error, gradient and update of a 2-2-2 network, every number of it checked.", ""),
    "eleven_lines": ("A network in eleven lines", "A hidden layer solves what one layer cannot, and the learning rate decides how well.", ""),
    "gradient_check": ("Gradient checking", "Central differences tell whether a gradient is right, for every layer, activation and loss.", ""),
    "moons": ("Two moons", "Three hidden units bend the boundary between two classes.", "{pictures}/moons.png"),
    "spiral": (
        "Neural networks from scratch",
        "ReLU, Adam and a decaying learning rate untwist a spiral; penalties and dropout hold it back.",
        "{pictures}/spiral.png",
    ),
    "nielsen": ("Neural networks and deep learning", "Overfitting, regularization and start weights on MNIST, to the same number of hits.", ""),
    "handwritten_zip": ("Exercise 4 of the machine-learning class", "A network is one vector, so conjugate gradient and L-BFGS can minimize its cost.", ""),
    "numpy_classifier": ("A classifier in NumPy", "One image at a time against minibatches, sigmoids against a modern setting.", ""),
    "keras_sequential": ("The same model in Keras", "Weights carry over as they are, and the predictions are the same.", ""),
    "xor_rprop": ("XOR with Rprop", "The sign of a gradient is enough to learn with: Rprop stops after some 35 epochs.", ""),
    "playground": ("A playground", "Watch the boundary form.", "spiral {pictures}/playground.gif"),
    "spam_filter": ("A spam filter", "Class weights trade precision for recall.", ""),
}


def run(name, arguments=()):
    """Return what an example prints."""
    result = subprocess.run([sys.executable, FOLDER / f"{name}.py", *arguments], capture_output=True, text=True, cwd=FOLDER.parent)
    if result.returncode:
        raise RuntimeError(f"{name} must run; it ended with {result.returncode}:\n{result.stderr}")
    return result.stdout.rstrip()


def section(name):
    """Return the part of the course that an example is."""
    title, lesson, arguments = COURSE[name]
    lines = [f"## {title}", "", lesson, "", "```sh", f"python examples/{name}.py", "```", "", "```text", run(name), "```", ""]
    if arguments:
        path = arguments.split()[-1].format(pictures="pictures")
        run(name, arguments.format(pictures=FOLDER / "pictures").split())
        lines += [f"![{title}]({path})", "", f"`python examples/{name}.py {arguments.format(pictures='examples/pictures')}` draws this.", ""]
    return "\n".join(lines)


def main():
    """Write the course."""
    (FOLDER / "pictures").mkdir(exist_ok=True)
    begin = (
        "# A course in small networks\n\nEach of these systems comes from a tutorial or a textbook, whose author printed its numbers. Here it is rebuilt\n"
        "in a page, and its numbers stand beside the published ones; `tests/examples` holds each of them to a tolerance. The docstring of each\n"
        'file names its origin. Install with `python -m pip install -e ".[test]"`; `python examples/gallery.py` writes this page.\n'
    )
    sections = []
    for name in COURSE:
        print(name, flush=True)
        sections.append(section(name))
    (FOLDER / "README.md").write_text("\n".join([begin, *sections]).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
