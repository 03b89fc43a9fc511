"""Texts for the demo of rewriting: sentences of offices and services in official English, and each in plain language.

The 260 pairs in `plain_language.tsv` were written for this demo and have the licence of the project (Apache-2.0),
because no package was found that has pairs of texts and rewrites and a permissive licence. A row has the topic, the
source and the text that an editor accepts. There are 52 pairs of each topic, and about 15 % of the sources are plain
already and stay as they are. Public administration is the hardest topic: its sentences are long and have legal terms.

The plain version says the same in fewer and more common words, as guides to plain language agree on it:

- a common word replaces a formal one ("use" for "utilise", "if" for "in the event that", "must" for "shall");
- a verb replaces a noun made of it ("assess" for "carry out an assessment of");
- the active voice replaces the passive where the sentence has, or clearly implies, somebody who acts, "we" and "you";
- what adds nothing is left out ("it should be noted that", one half of "each and every"); numbers stay.
"""

from __future__ import annotations

import csv
import random
from importlib.resources import files

from ml_backend.demo.texts import DemoTask

FILE = "plain_language.tsv"
CONTROL = "rewrite"  # name of the control in which annotators write
N_HELD_OUT_OF_TOPIC = 12


def load_rewrites() -> tuple[list[DemoTask], list[DemoTask]]:
    """The sentences of the pool with their plain versions, and a fixed set of held-out sentences, equally many of
    each topic; no text is in both. The data of a task has its topic, too."""
    lines = (files(__package__) / FILE).read_text(encoding="utf-8").splitlines()
    tasks = [
        DemoTask(row["source"], {CONTROL: (row["accepted"],)}, {"text": row["source"], "topic": row["topic"]})
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    ]
    random.Random(0).shuffle(tasks)  # noqa: S311 (a fixed order, no secret)
    topics = sorted({task.data["topic"] for task in tasks})
    held_out = [
        task
        for topic in topics
        for task in [task for task in tasks if task.data["topic"] == topic][:N_HELD_OUT_OF_TOPIC]
    ]
    held_out_texts = {task.text for task in held_out}
    return [task for task in tasks if task.text not in held_out_texts], held_out
