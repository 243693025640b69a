"""The app tier: tasks, the pipeline that runs them, and the instance's lifecycle."""
