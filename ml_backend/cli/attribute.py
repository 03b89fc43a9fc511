"""`apprentice attribute`."""

from __future__ import annotations

from ml_backend.cli.common import Control, DataDir, Project, open_store, out, print_control_name, read_settings


def attribute(project: Project, control: Control = "", data_dir: DataDir = None) -> None:
    """Show the model of the attribute that written texts must have: its AUC, and the texts that it judges worst."""
    import numpy as np

    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.kinds.lookup import kind_of
    from ml_backend.rendering.attribute_text import attribute_lines
    from ml_backend.teacher.evolution.error_analysis import load_serving_learner
    from ml_backend.teacher.project_context import load_project_context

    settings = read_settings(data_dir=data_dir)
    context = load_project_context(settings, open_store(settings), project, control)
    controls = [shown for shown in context.schema.selected_controls(control) if kind_of(shown).writes_texts]
    if not controls:
        raise ApprenticeError(f"Project {project} learns no written texts there: an attribute is that of a TextArea")
    for shown in controls:
        print_control_name(shown, context.schema.controls)
        learner = load_serving_learner(context.with_control(shown))
        tasks, targets = learner.snapshot.tasks, learner.snapshot.targets
        sources = context.pool.texts(tasks).kept()(np.arange(len(tasks)))
        judgement = kind_of(shown).attribute_judgement(shown, learner.tensors, sources, targets)
        for line in attribute_lines(context.options.attribute, judgement, tasks.tolist(), sources):
            out.print(line, highlight=False, markup=False)
