"""Stands for the Python actors of Loom, which put `json.dumps` of a message on a NATS subject.

    loom_actor.py                        writes tasks
    loom_actor.py WORKER [ARGUMENT...]   gives them to a worker's process, and tells what became of each
"""

import json
import secrets
import subprocess
import sys

TEXTS = ["Ümit grüßt 東京 und 😀. Der Rest ist Beiwerk.", ""]


def make_task(number, text):
    return {
        "task_id": f"task-{number}",
        "parent_task_id": "goal-1",
        "worker_type": "summarizer",
        "payload": {"text": text},
        "model_tier": "local",
        "priority": "normal",
        "created_at": "2026-11-20T09:15:00.123456Z",
        "request_id": None,
        "metadata": {"attempt": 1, "tags": ["größe"]},
        "_trace_context": {
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
            "tracestate": "loom=actor",
            "baggage": "tenant=%C3%9Cmit",
        },
    }


def main():
    tasks = [make_task(number, text) for number, text in enumerate(TEXTS, 1)]
    lines = "".join(json.dumps(task) + "\n" for task in tasks)
    if len(sys.argv) == 1:
        print(lines, end="")
        return
    worker = subprocess.run(sys.argv[1:], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    results = [json.loads(line) for line in worker.stdout.splitlines()]
    print(json.dumps([{"task": task, "result": result} for task, result in zip(tasks, results, strict=True)]))


main()
