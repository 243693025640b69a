"""Celery's settings, each with its reason. Assignments only."""

# With an underscore: `celery report` and Flower show every other name here as a setting.
from irs.domain.tasks import CLASSIFY as _CLASSIFY
from irs.settings import load as _load

_settings = _load()

# -- broker: SQS through our own transport --------------------------------------------------
broker_url = "sqs://"
broker_transport = "irs.broker.transport:Transport"
# Else kombu builds a session of its own to learn it.
broker_transport_options = {"region": _settings.region}
# A worker that starts before its endpoint answers waits for it, for ever: the scaler and
# the liveness check decide when an instance is given up.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# The client has its own bounded retries; a second layer would multiply the waits.
task_publish_retry = False
# Every web thread may need one at once, and where SQS stalls no line may form for them that has
# no deadline; 64 are for batches and the rest. They share clients, cost a few kB each, and are
# made as they are needed.
broker_pool_limit = _settings.max_waiting + 64

# -- routing: one task queue ------------------------------------------------------------------
task_default_queue = _settings.input_queue
task_default_exchange = _settings.input_queue
task_default_routing_key = _settings.input_queue
task_create_missing_queues = True

# -- delivery: at least once, settled late ----------------------------------------------------
# The message is deleted after the result is stored, and only then.
task_acks_late = True
# A task that raised, or whose thread was lost, leaves its message to the redrive policy.
task_acks_on_failure = False
task_acks_on_timeout = False
task_reject_on_worker_lost = False
# One set of tasks runs while the next is on its way: receives of ten need room for ten.
worker_prefetch_multiplier = 2

# -- serialisation: JSON and nothing else -----------------------------------------------------
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]

# -- results: S3 is the truth (irs.results) ------------------------------------------------------
result_backend = "irs.results.backend:ResultBackend"
# The task stores its result itself, where a failure to do so can still keep the message.
task_ignore_result = True

# -- worker ----------------------------------------------------------------------------------------
# Threads: boto3, onnxruntime and CUDA are unsafe after a fork, and the batcher needs all
# tasks in one process. Pool and consumer are Celery's own, made to leave every message that
# they cannot handle to the dead-letter queue.
worker_pool = "irs.worker.pool:TaskPool"
worker_consumer = "irs.worker.consumer:Consumer"
# One batch in the engine while the next one is fetched and decoded.
worker_concurrency = 2 * _settings.max_batch
# Loaded by workers only: the web tier sends tasks by name.
imports = ["irs.worker.tasks"]
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_cancel_long_running_tasks_on_connection_loss = False
worker_enable_remote_control = _settings.remote_control
# Each is part of an SNS publish: for those who look. How often is in `irs.broker.events`.
worker_send_task_events = _settings.task_events
# Two deployments in one account do not hear each other.
control_exchange = _settings.cluster
event_exchange = f"{_settings.cluster}ev"
timezone = "UTC"
enable_utc = True
task_routes = {_CLASSIFY: {"queue": _settings.input_queue}}
