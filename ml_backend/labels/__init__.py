"""Labels and accepted drafts of a project, aggregated task by task as annotations change."""
