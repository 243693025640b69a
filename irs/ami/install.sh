#!/bin/sh
# Makes a machine of IRS: a release, the model, the units, and a test of itself. The builder of
# the machine image runs it, and a stock image at its first boot. What to install says `plan`,
# a file beside it. With `root` set it installs below there and leaves the running system alone.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${root:-}
python=${python:-python3.11}
# shellcheck source=plan
. "$here/plan"
irs=$root/opt/irs
log=$here/log
step=packages

# Progress and outcome go to an address that takes one PUT after another; none: nobody asks.
report() {
	[ -n "$report_url" ] || return 0
	python3 - "$report_url" "$1" "$step" "$log" <<-'PY'
		import json, sys, time, urllib.request
		url, state, step, log = sys.argv[1:]
		with open(log, "rb") as file:
		    tail = file.read()[-4000:].decode(errors="replace")
		data = json.dumps({"state": state, "step": step, "log": tail}).encode()
		for attempt in range(5):
		    try:
		        urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT"), timeout=30).close()
		        break
		    except OSError as exc:
		        print(f"report: {exc}", file=sys.stderr)
		        time.sleep(2 ** attempt)
	PY
}

ended() {
	code=$?
	[ "$code" = 0 ] || { echo "failed at: $step (code $code)"; report failed; }
	[ -n "$root" ] || tail -n 20 "$log" >/dev/console || true
}

# fetch URL FILE SHA256
fetch() {
	python3 - "$1" "$2" <<-'PY'
		import shutil, sys, urllib.request
		url, path = sys.argv[1:]
		with urllib.request.urlopen(url, timeout=60) as answer, open(path, "wb") as file:
		    shutil.copyfileobj(answer, file)
	PY
	[ -z "${3:-}" ] || echo "$3  $2" | sha256sum --check --strict -
}

packages() {
	if "$python" -c 'import ensurepip, venv'; then return 0; fi
	if command -v dnf >/dev/null; then
		dnf install --assumeyes --quiet python3.11
	else
		apt-get update --quiet --quiet
		DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends \
			python3.11-venv
	fi
}

release() {
	if [ -n "$wheel_url" ]; then
		fetch "$wheel_url" "$here/$wheel_name" "$wheel_sha256"
		wanted="irs[worker] @ file://$here/$wheel_name"
	else
		wanted="irs[worker]==$release"
	fi
	"$python" -m venv "$irs"
	"$irs/bin/python" -m pip install --disable-pip-version-check --no-input --no-cache-dir "$wanted"
}

model() {
	mkdir -p "$irs/models"
	fetch "$model_onnx" "$irs/models/$model_name.onnx"
	fetch "$model_json" "$irs/models/$model_name.json"
	(cd "$irs/models" && printf '%s\n' "$model_sums" | sha256sum --check --strict -)
	printf '%s\n' "$model_sums" >"$irs/models/$model_name.sha256"
}

units() {
	found=$("$irs/bin/python" -c 'import irs.ami, pathlib; print(pathlib.Path(irs.ami.__file__).parent)')
	# With its directory, whose group systemd sees to, journald keeps what irs-logs ships from.
	mkdir -p "$root/etc/systemd/system" "$root/var/log/journal"
	cp -R "$found/units/." "$root/etc/systemd/system/"
	# It compiles the model when it starts; all other boards of the fence stay.
	if [ "$engine" = openvino ]; then
		mkdir -p "$root/etc/systemd/system/irs-worker.service.d"
		printf '[Service]\nMemoryDenyWriteExecute=no\n' \
			>"$root/etc/systemd/system/irs-worker.service.d/openvino.conf"
	fi
	[ -z "$root" ] || return 0
	systemd-tmpfiles --create --prefix=/var/log/journal
	journalctl --flush
	systemctl daemon-reload
	systemctl enable irs-boot.service irs-worker.service irs-web.service irs-scaler.service irs-logs.service
	# What keeps one from starting, and not what this systemd is too old to know: RestartSteps.
	systemd-analyze verify /etc/systemd/system/irs-*.service
}

# Of what is installed, and not of what is around: without torch, queue and bucket.
selftest() {
	cd "$here"
	IRS_MODEL_DIR=$irs/models IRS_ENGINE=$engine IRS_MODEL=$model "$irs/bin/irs" model check
	"$irs/bin/python" -c 'import irs.ami.boot, irs.scaler.loop, irs.shipping.shipper, irs.web.app, irs.worker.tasks'
}

# What belongs to this machine alone must not be in its image.
tidy() {
	[ -z "$root" ] || return 0
	cloud-init clean --logs
	rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys
	truncate --size 0 /etc/machine-id
	# journald writes elsewhere from here on: it would make the directory anew.
	journalctl --relinquish-var
	rm -rf /var/log/journal/*
	rm -f "$here/plan" "$here"/*.whl
}

: >"$log"
exec >>"$log" 2>&1
trap ended EXIT
# Should nobody come for it, a builder ends itself: its launch says that a shutdown terminates.
[ -n "$root" ] || [ -z "$minutes" ] || shutdown -P "+$minutes"
for step in packages release model units selftest; do
	echo "== $step"
	report running
	"$step"
done
if [ "$for_image" = yes ]; then
	step=tidy
	tidy
elif [ -z "$root" ]; then
	step=start
	systemctl start --no-block irs-boot.service irs-worker.service irs-web.service irs-scaler.service \
		irs-logs.service
fi
echo "== done"
report "done"
