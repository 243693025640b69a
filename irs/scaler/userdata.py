"""What an instance is told at its launch: settings, never credentials."""

from __future__ import annotations

from irs import settings as settings_module
from irs.errors import SettingsError
from irs.settings import Settings

#: What a worker reads, and its image's log agent (`log_group`). Not here: credentials (the instance
#: profile has them), the metadata endpoint (fixed by the machine), and `model_dir` (a path of the
#: instance's own image).
WORKER = (
    "region", "aws_endpoint_url", "input_bucket", "output_bucket", "input_queue", "output_queue",
    "dead_letter_queue", "visibility_timeout", "max_receive_count", "poll_wait", "remote_control",
    "task_events", "max_image_bytes", "max_image_pixels", "model", "model_weights", "model_sha256",
    "canary_model", "canary_weights", "canary_sha256", "canary_share", "engine",
    "precision", "max_batch", "engine_threads", "cluster", "idle_shutdown", "min_instances",
    "drain_grace", "host", "worker_metrics_port", "log_level", "log_format",
    "traces", "trace_share", "metrics_host", "log_group",
)


def build(settings: Settings) -> str:
    """``IRS_NAME=value`` lines for the settings that differ from their default.

    `irs.settings.apply_user_data` reads them. Raises `SettingsError` for a value that
    does not fit on one line.
    """
    fields = type(settings).model_fields
    changed = [name for name in WORKER if getattr(settings, name) != fields[name].default]
    lines = []
    for variable, value in settings_module.as_env(settings, *changed).items():
        if value != value.strip() or len(value.splitlines()) != 1:
            raise SettingsError(f"{variable}: must be one line, without spaces around it")
        lines.append(f"{variable}={value}\n")
    return "".join(lines)
