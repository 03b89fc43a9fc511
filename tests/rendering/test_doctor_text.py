"""Each finding of the doctor has a sentence."""

from __future__ import annotations

from ml_backend.monitoring.coverage import Coverage
from ml_backend.monitoring.doctor import Code, Finding, Subject
from ml_backend.rendering.doctor_text import TEXTS, finding_sentences, subject_name
from ml_backend.teacher.health import TeacherCode


def test_each_code_has_a_sentence() -> None:
    assert TEXTS.keys() == {*Code, *TeacherCode}


def test_a_finding_names_its_project_and_what_to_do() -> None:
    finding = Finding("wrong", Subject.PROJECT, Code.NO_WEBHOOK, project=5)
    assert subject_name(finding) == "project 5"
    assert finding_sentences(finding)[0].endswith("run `apprentice connect --project 5` again")
    assert subject_name(Finding("wrong", Subject.TEACHER, TeacherCode.NO_PRICE, project=5)) == "teacher of 5"
    assert subject_name(Finding("good", Subject.BACKEND, Code.BACKEND_ANSWERS)) == "this backend"


def test_a_note_on_a_control_starts_with_its_name_if_the_project_has_several() -> None:
    coverage = Coverage(2, 0, 0, 0, 8, 0, "", (), ("fruit",))
    for name, beginning in (("", "nothing is learnt yet"), ("mood", "mood: nothing is learnt yet")):
        values = {"coverage": coverage, "name": name}
        [sentence] = finding_sentences(Finding("notice", Subject.PROJECT, Code.NO_SECOND_LABEL, values, 5))
        assert sentence.startswith(beginning)
