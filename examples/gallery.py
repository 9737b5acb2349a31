"""Run every example as a person would, and write examples/README.md and examples/pictures from what they print and draw.

`python examples/gallery.py` does all of it, in some minutes; `python examples/gallery.py spiral` one example, and leaves the
rest of the page as it is.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

INTRODUCTION = """# Examples: a course in twenty networks

Every script is one system that people learn from, written with this library, and prints its numbers beside those that the
author of the system published. Read from top to bottom: each adds one idea. Install what they need from the checkout with

```sh
python -m pip install -e ".[data,plot,scipy,sklearn]"
```

and run them there. MNIST is downloaded once, or read from the folder that `FASTNN_DATA_DIR` names. This page is made by
`python examples/gallery.py`.
"""

# Script: heading, what it teaches, and the commands; an argument with an ending is a picture.
COURSE = {
    "functions": ("The functions", "A network is a chain of plain functions, whether the data are rows or columns.", [[]]),
    "neuron": ("One neuron", "A neuron adds up evidence and squeezes the sum between 0 and 1.", [[]]),
    "logistic_regression": ("Logistic regression", "The smallest network that learns: one sigmoid unit, and one minimum that every method finds.", [[]]),
    "softmax_regression": ("Softmax regression", "Several classes: one output for each, made to add up to 1.", [[]]),
    "mazur": ("Backpropagation, step by step", "One step forward, one step back, every number on paper.", [[]]),
    "eleven_lines": ("Eleven lines of Python", "Why a hidden layer is needed, and what the learning rate does.", [[]]),
    "moons": ("Moons", "Three hidden units bend the boundary between two classes.", [["moons.png"]]),
    "nielsen": ("Neural Networks and Deep Learning", "Overfitting, seen in two columns, and what holds against it.", [[], ["--full"]]),
    "spiral": ("Neural Networks from Scratch", "ReLU, softmax and Adam on a task that no straight line solves; L2 and dropout.", [["--full", "spiral.png"]]),
    "handwritten_zip": ("The machine-learning class, exercise 4", "Training is minimization: any minimizer will do.", [[]]),
    "numpy_classifier": (
        "A classifier written with NumPy",
        "The same layers one image at a time, in minibatches, with ReLU and softmax.",
        [["--full"]],
    ),
    "keras_sequential": ("Keras Sequential", "The same model in two spellings gives the same numbers.", [[]]),
    "xor_rprop": ("FANN: XOR by resilient propagation", "The sign of the gradient is enough; the start matters.", [[]]),
    "playground": ("TensorFlow Playground", "Watch the boundary form.", [[], ["spiral", "playground.gif"]]),
    "spam_filter": ("A spam filter", "Rare classes: weights, precision and recall.", [[]]),
    "cart_pole": ("Cart-pole inside compiled code", "A network may be one part of a compiled loop: an agent and its world.", [[]]),
    "pendulum": ("A pendulum's law inside integrators", "A learned law is a right-hand side: for Numba, for SciPy, for C.", [[]]),
    "million_calls": ("A PyTorch model, called a million times", "One row after the other, where each depends on the last.", [[]]),
    "web_server": ("Predictions behind a web server", "A network is a file: worker processes load it and answer at the same time.", [[]]),
    "gradient_check": ("Checking gradients", "How to know that backpropagation is right.", [[]]),
}


def run(name, arguments):
    """Run a script with pictures going to their folder; return the part of its section: command, output and picture."""
    pictures = [one for one in arguments if "." in one]
    places = [str(HERE / "pictures" / one) if one in pictures else one for one in arguments]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    done = subprocess.run([sys.executable, HERE / f"{name}.py", *places], cwd=HERE.parent, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    shown = "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())
    blocks = [f"```sh\n{' '.join(['python', f'examples/{name}.py', *arguments])}\n```", f"```text\n{shown}\n```"]
    return "\n\n".join(blocks + [f"![{COURSE[name][0]}](pictures/{one})" for one in pictures])


def section(name):
    """Run a script in all its ways; return its section of the page."""
    heading, teaches, commands = COURSE[name]
    number = list(COURSE).index(name) + 1
    return "\n\n".join([f"## {number}. {heading}", f"{teaches} [{name}.py]({name}.py)", *(run(name, arguments) for arguments in commands)]) + "\n"


def read(page):
    """Return the sections of a page by the name of their script."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {re.search(r"\]\((\w+)\.py\)", part)[1]: part.rstrip("\n") + "\n" for part in parts}


def main(*names):
    """Write the page, with new sections for the named scripts, or for all."""
    (HERE / "pictures").mkdir(exist_ok=True)
    page = HERE / "README.md"
    sections = read(page.read_text(encoding="utf-8")) if names and page.exists() else {}
    for name in names or COURSE:
        print(name, flush=True)
        sections[name] = section(name)
    page.write_text("\n".join([INTRODUCTION, *(sections[name] for name in COURSE if name in sections)]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
