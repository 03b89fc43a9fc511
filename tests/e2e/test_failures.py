"""Failures: killed processes, a stopped Label Studio, wrong keys, damaged files."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from running_backend import Backend, Project, running_backend, until
from schemas import chosen

from ml_backend.core.exceptions import LabelStudioError
from ml_backend.demo.accounts import Account
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.rendering.remarks_text import remarks_text

pytestmark = pytest.mark.e2e
MANY = 200


def submit(project: Project, n: int, before_each: Callable[[int], None] = lambda _: None) -> dict[int, str]:
    """Annotates n tasks without pauses, in the order of import. Returns label by annotation."""
    tasks = [(task["id"], project.truth[task["data"]["text"]]) for task in project.tasks()][:n]
    assert len(tasks) == n
    labels = {}
    for done, (task, label) in enumerate(tasks):
        before_each(done)
        labels[project.answer(task, label)] = label
    return labels


def predict(backend: Backend, project: Project) -> httpx.Response:
    """Requests the draft of a new text, as Label Studio does."""
    body = {"tasks": [{"id": 1, "data": {"text": "Where do I buy fresh basil?"}}], "project": project.number}
    return httpx.post(f"{backend.settings.address}/predict", json=body, auth=("apprentice", backend.secret), timeout=60)


def check_that_the_queue_goes_on(backend: Backend, project: Project, labels: dict[int, str]) -> None:
    with backend.held_queue(project, labelled=len(labels)) as version:
        backend.check_consistency(project, labels)
        served = project.next()
        assert served is not None and served.version == version.name
    labels[project.answer_rightly(served)] = project.truth[served.text]
    with backend.held_queue(project, labelled=len(labels)):
        backend.check_consistency(project, labels)


def test_nothing_is_lost_when_the_web_process_is_killed_again_and_again(
    make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend, project = make_backend(), make_project(240, classes=6)
    backend.connect(project)
    backend.wait_for_queue(project)
    killed: list[int] = []

    def kill(done: int) -> None:
        if done in (20, 90, 160):
            killed.append(backend.kill("web"))

    labels = submit(project, MANY, kill)
    assert len(set(killed)) == 3
    check_that_the_queue_goes_on(backend, project, labels)
    until(lambda: httpx.get(f"{backend.settings.address}/health").is_success, "the web process is back")


def test_nothing_is_lost_when_the_worker_is_killed_in_the_middle_of_rounds(
    make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend, project = make_backend(), make_project(240, classes=6)
    backend.connect(project)
    backend.wait_for_queue(project)
    caught: list[str] = []
    enough = threading.Event()

    def kill_in_rounds() -> None:
        delay = random.Random(1)
        while not enough.is_set():
            job = backend.store.jobs.state(project.number)
            if not job.running or job.owner in caught:
                time.sleep(0.005)
                continue
            time.sleep(delay.uniform(0, 0.6))
            if backend.store.jobs.state(project.number).running:
                backend.kill("worker")
                caught.append(str(job.owner))

    killer = threading.Thread(target=kill_in_rounds)
    killer.start()
    try:
        labels = submit(project, MANY)
        until(lambda: len(caught) >= 3, "three workers killed in their rounds")
    finally:
        enough.set()
        killer.join(60)
    assert len(set(caught)) >= 3
    check_that_the_queue_goes_on(backend, project, labels)


def test_a_label_studio_that_dies_in_the_middle_of_a_publish_is_waited_for(
    label_studio: LocalLabelStudio, make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend, project = make_backend(timeout_seconds=3), make_project(60)
    backend.connect(project)
    backend.wait_for_queue(project)
    labels = dict.fromkeys(project.answer_next(3), "")
    active = backend.wait_for_queue(project, labelled=3)

    served = project.next()
    assert served is not None
    labels[project.answer_rightly(served)] = ""
    until(lambda: backend.store.versions.all(project.number)[0].number > active.number, "a version to be published")
    label_studio.stop(grace=0.0)
    down = time.monotonic()

    until(lambda: backend.status(project).last_error, "the status to say what is wrong")
    status = backend.printed_status(project)
    assert f"Label Studio at {label_studio.url} does not answer" in status["last_error"]
    assert status["waiting"] or status["running"]
    assert len(backend.active_versions(project)) == 1
    body = {"tasks": [{"id": 1, "data": {"text": "Which spices go well with lentil soup?"}}], "project": project.number}
    reply = httpx.post(
        f"{backend.settings.address}/predict", json=body, auth=("apprentice", backend.secret), timeout=60
    )
    assert reply.json()["results"][0]["result"], "drafts on request do not need Label Studio's API"
    time.sleep(max(0.0, 30 - (time.monotonic() - down)))

    label_studio.start()
    backend.wait_for_queue(project, labelled=4)
    labels = {annotation.id: chosen(annotation)[0] for annotation in backend.store.annotations.of(project.number)}
    assert len(labels) == 4
    check_that_the_queue_goes_on(backend, project, labels)
    assert backend.status(project).last_error is None


def test_a_wrong_key_is_told_in_one_sentence(backend: Backend, make_project: Callable[..., Project]) -> None:
    number = str(make_project(6).number)
    wrong = "0123456789abcdef0123456789abcdef01234567"
    done = backend.cli("connect", "--project", number, "--api-key", wrong)
    assert done.returncode == 1
    error_lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(error_lines) == 1 and "401" in error_lines[0] and "API key" in error_lines[0]
    assert "Traceback" not in done.stderr and wrong not in done.stderr + done.stdout

    done = backend.cli("doctor", "--project", number, label_studio_api_key=wrong)
    assert done.returncode == 1
    assert any("wrong" in line and "API key" in line for line in done.stdout.splitlines()), done.stdout
    assert "Traceback" not in done.stderr and wrong not in done.stderr + done.stdout


def test_a_revoked_key_is_told_and_the_right_one_brings_the_backend_back(
    label_studio: LocalLabelStudio,
    make_account: Callable[[], Account],
    make_backend: Callable[..., Backend],
    make_project: Callable[..., Project],
) -> None:
    backend, project, account = make_backend(label_studio_api_key=""), make_project(30), make_account()
    number = str(project.number)
    connected = backend.cli("connect", "--project", number, "--api-key", account.token)
    assert connected.returncode == 0, connected.stderr
    backend.wait_for_queue(project)

    headers = {"Authorization": f"Token {account.token}"}
    reply = httpx.post(f"{label_studio.url}/api/current-user/reset-token", headers=headers, timeout=60)
    assert reply.is_success
    project.answer_next(2)
    error = until(lambda: backend.status(project).last_error, "the status to say what is wrong")
    assert "401" in error and "API key" in error and account.token not in error
    served = project.next()
    assert served is not None and served.version == backend.published(project)

    connected = backend.cli("connect", "--project", number, "--api-key", label_studio.token)
    assert connected.returncode == 0, connected.stderr
    backend.wait_for_queue(project, labelled=2)
    assert backend.status(project).last_error is None
    assert backend.leaked([account.token, label_studio.token]) == []


def test_a_damaged_artifact_is_told_and_an_older_learner_serves(
    make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend, project = make_backend(), make_project(30)
    backend.connect(project)
    backend.wait_for_queue(project)
    for done in (4, 8):
        project.answer_next(4)
        active = backend.wait_for_queue(project, labelled=done)
    assert active.learner is not None
    earlier = backend.store.versions.learners(project.number)[1]
    artifact = backend.store.versions.artifact(project.number, active.learner)
    assert artifact is not None
    path = backend.settings.data_dir / "artifacts" / artifact[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    backend.restart("worker")
    # held at the damaged learner, so that no newer one can take its place
    assert backend.cli("rollback", "--project", str(project.number), "--to", str(active.number)).returncode == 0

    until(lambda: "damaged" in remarks_text(backend.active(project).remarks), "the status to say what is wrong")
    with backend.held_queue(project, labelled=8) as version:
        assert version.learner == earlier
        assert backend.printed_status(project)["remarks"][0]["code"] == "learner unreadable"
        served = project.next()
        assert served is not None and served.version == version.name


def test_the_last_good_version_serves_while_the_encoder_is_missing(
    label_studio: LocalLabelStudio, make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    first, project = make_backend(), make_project(30)
    first.connect(project)
    first.wait_for_queue(project)
    project.answer_next(4)
    with first.held_queue(project, labelled=4) as good, running_backend(
        label_studio, first.log.parent / "other", data_dir=first.settings.data_dir, encoder="sentence:/nonexistent",
        secret=first.secret,
    ) as broken:  # fmt: skip
        for process in first.processes("worker"):
            assert process not in broken.processes("worker")
        project.answer_next(1)
        # a first round that meets the worker's other imports may fail for that, and is tried again
        says = lambda: "/nonexistent" in (error := broken.status(project).last_error or "") and error  # noqa: E731
        assert "could not be loaded" in until(says, "the status to say what is wrong")
        served = project.next()
        assert served is not None and served.version == good.name
        assert broken.published(project) == good.name
        reply = predict(broken, project)
        assert reply.status_code == 503 and "/nonexistent" in reply.json()["error"]


def test_no_key_no_secret_and_no_text_is_in_the_log_after_a_busy_time_full_of_failures(
    make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend, project = make_backend(), make_project(30)
    backend.connect(project)
    backend.wait_for_queue(project)
    address, secret = backend.settings.address, backend.secret
    texts = list(project.truth)
    with httpx.Client(base_url=address, auth=("apprentice", secret), timeout=60) as inside:
        for body in (
            {"action": "ANNOTATION_CREATED", "project": {"id": project.number}, "task": {"data": {"text": texts[0]}}},
            {"action": texts[1], "project": {"id": project.number, "label_config": texts[2]}},
            {"tasks": [{"id": "x", "data": texts[3]}, texts[4], None], "project": project.number, "label_config": "<"},
            {"tasks": [{"id": 1, "data": {"text": {"deep": texts[5]}}}], "project": project.number},
            {"project": secret, "schema": texts[6], "tasks": []},
        ):
            for path in ("/webhook", "/predict", "/setup"):
                assert inside.post(path, json=body).status_code < 600
        assert inside.post("/webhook", content=texts[7]).status_code == 400
    assert httpx.get(f"{address}/versions", params={"secret": secret}).status_code == 401
    project.client.call("DELETE", f"api/webhooks/{project.webhooks()[0]['id']}/")
    project.answer_next(2)
    with damaged(backend.settings.data_dir / "vectors"):
        backend.kill("worker")
        project.answer_next(2)
        backend.kill("web")
    backend.wait_for_queue(project, labelled=4)
    with pytest.raises(LabelStudioError):
        backend.client.call("GET", "api/projects/999999")
    assert backend.log.read_text().count("process died") == 2, "there is something to look through"
    assert backend.leaked(texts) == []


@contextmanager
def damaged(folder: Path) -> Iterator[None]:
    """Truncates every file in a folder."""
    for path in folder.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:-7])
    yield
