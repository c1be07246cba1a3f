"""One file per task, each with a constant `TASK`; files are found by being here."""
