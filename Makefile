# `make up` starts everything here, `make test` runs every test; both need Python >= 3.11,
# make and pip packages, nothing more. Another Python: make PYTHON=python3.12 up
PYTHON ?= python3
BIN := .venv/bin

# Every recipe line execs what it runs, so that make's child is the thing itself: Ctrl-C, which a
# terminal sends to both, and SIGTERM, which make hands on, reach it, and no shell in between dies
# in its place. SIGINT sent to make alone waits: make leaves that one to the terminal.
READY = @command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) here; name one: make PYTHON=python3.12 $@" >&2; exit 2; }; \
	exec $(PYTHON) scripts/bootstrap.py

.PHONY: help up test faults fuzz lint bench shots audit wheel locks images machine venv clean

help:
	@echo "make up      install, then start cloud, web tier and scaler here; Ctrl-C stops them"
	@echo "make test    install, then lint and run every test; one file: make test ARGS=tests/unit/test_cli.py"
	@echo "make faults  install, then every fault of docs/reliability.md, a line each; pairs of them: make faults ARGS='--pairs-minutes 10'"
	@echo "make fuzz    install, then thousands of made-up requests from the OpenAPI document; more, others:"
	@echo "             make fuzz ARGS='--examples 1000 --fuzz-seed 7'"
	@echo "make lint    install, then lint"
	@echo "make bench   install, then compare scaling policies: make bench ARGS='--traces DIR' (docs/scaling.md);"
	@echo "             another benchmark of bench/: make bench BENCH=efficiency (docs/speed.md)"
	@echo "make shots   install, then pictures of the pages to docs/images; needs Debian's chromium"
	@echo "make audit   ask PyPI whether a pinned package has a known vulnerability; needs the internet"
	@echo "make wheel   build dist/irs-VERSION-py3-none-any.whl (docs/releases.md)"
	@echo "make locks   resolve the images' packages anew, with digests; after a change of requirements.txt"
	@echo "make images  build the containers' images and try them; needs root, buildah and debootstrap (docs/containers.md)"
	@echo "make machine build the machine image and boot it; needs root, debootstrap and systemd-nspawn (docs/ami.md)"
	@echo "make venv    install into .venv only"
	@echo "make clean   remove .venv and caches; .irs (images, queues, models) stays"

up:
	$(READY) $(BIN)/irs up $(ARGS)

test: lint
	@exec $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(ARGS)

faults:
	$(READY) $(BIN)/python -m pytest -q tests/faults --matrix $(ARGS)

fuzz:
	$(READY) $(BIN)/python -m pytest -q tests/integration/test_openapi.py --timeout 3600 --examples 200 $(ARGS)

lint:
	$(READY) $(BIN)/ruff check

BENCH ?= scaling
bench:
	$(READY) $(BIN)/python bench/$(BENCH).py $(ARGS)

shots:
	$(READY) $(BIN)/python scripts/shots.py $(ARGS)

# An environment of its own: the auditor's packages are none of ours. --strict: what could
# not be looked up fails, rather than pass unseen.
audit:
	@$(PYTHON) -m venv .audit
	@exec .audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@exec .audit/bin/pip-audit --strict -r requirements.txt

wheel:
	$(READY) $(BIN)/python scripts/release.py wheel

locks:
	$(READY) $(BIN)/python scripts/release.py locks

images:
	$(READY) $(BIN)/python scripts/images.py $(ARGS)

machine:
	$(READY) $(BIN)/python scripts/try_ami.py $(ARGS)

venv:
	$(READY)

clean:
	rm -rf .venv .audit .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.irs/*' -prune -exec rm -rf {} +
