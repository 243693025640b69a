"""The original's design: one message at a time, a new classifier process for each image.

Runs in irs's own environment, for torch and the network; imports nothing of irs itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import waitress
from flask import Flask, Response, request

CLASSIFY = Path(__file__).with_name("classify_one.py")
PARAMETERS = json.loads(Path(os.environ["PEER"]).read_text())

app = Flask(__name__)
#: The queue of one.
turn = threading.Lock()


@app.post("/upload")
def upload() -> Response:
    """The label that the classifier prints for the form's file."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        request.files["myfile"].save(file)
        file.flush()
        with turn:
            done = subprocess.run([sys.executable, CLASSIFY, file.name], check=True, stdout=subprocess.PIPE)
    return app.json.response(label=done.stdout.decode().strip())


if __name__ == "__main__":
    waitress.serve(app, host=PARAMETERS["host"], port=PARAMETERS["port"], threads=PARAMETERS["at_once"])
