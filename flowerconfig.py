"""Flower's settings, each with its reason; read by `celery -A irs flower` in this directory."""

# Flower asks for no password unless told to, and its buttons end workers.
address = "127.0.0.1"
# It would tell every worker each 5 s to send events: 24 SQS calls a minute and worker. Whether
# they do is IRS_TASK_EVENTS's to say.
enable_events = False
# Milliseconds without an answer after which Flower takes it that there are no more. One comes
# over SNS and SQS in a second or two; Flower's own limit is 1 s.
inspect_timeout = 4000.0
# Instances come and go, each with a name of its own; seconds after which one that is gone is
# forgotten.
purge_offline_workers = 3600
# Of 100,000, Flower's own limit, one has 200 MB.
max_tasks = 10_000
