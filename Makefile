# Two commands matter: `make run` and `make test`. `make help` lists the others.

# Debian's own Python where it is new enough: its build is optimised by profile, which self-made
# ones often are not, and that is worth a third of the CPU per request (docs/performance.md).
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; assert sys.version_info >= (3, 11)' \
            2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
CONF ?=
# Layer 0: functions of values. Every branch of it is tested; ARCHITECTURE is in proxy/__init__.py.
PURE := errors shapes declaration declarations_bounds declarations_running declarations_targets \
        declarations inifile values gathering consistency settings zones fields heads reader http1 \
        headers route patience proxyproto answers callers destinations policy migration health
comma := ,
empty :=
space := $(empty) $(empty)
PURE_FILES := $(subst $(space),$(comma),$(foreach module,$(PURE),proxy/$(module).py))

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: run
run: $(VENV)/ready ## start the proxy; without an upstream also a stand-in platform and agents
	@$(BIN)/python -m tests.demo $(if $(CONF),--conf $(CONF))

.PHONY: test
test: packages check sbom ## everything: checks, unit, integration and end-to-end tests, the image
	@$(BIN)/python -m tests.parts
	@sh tests/image/ci.sh

.PHONY: check
check: $(VENV)/ready ## format, lint, types, scripts, unit tests with every branch of the pure layer
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@if command -v shellcheck >/dev/null; then shellcheck \
	  .ci/run appliance/*.sh packer/*.sh packer/initramfs/hook packer/scripts/*.sh tests/*.sh tests/image/*.sh tests/lab/*.sh; \
	else echo "SKIPPED shellcheck: it is not installed (apt-get install shellcheck)"; fi
	@if command -v haproxy >/dev/null; then haproxy -c -f conf/haproxy.cfg; \
	else echo "SKIPPED haproxy -c: it is not installed (apt-get install haproxy)"; fi
	@if command -v promtool >/dev/null; then \
	promtool check rules conf/alerts.yml && promtool test rules tests/alerts.yml; \
	else echo "SKIPPED promtool: it is not installed (apt-get install prometheus)"; fi
	$(BIN)/coverage erase
	$(BIN)/coverage run --branch --include=$(PURE_FILES) -m pytest -p no:cacheprovider tests/unit
	$(BIN)/coverage report --fail-under=100 --skip-covered --include=$(PURE_FILES)

.PHONY: lab
lab: $(VENV)/ready packages ## as root: networks the platform cannot reach, in namespaces; LAB=name for one
	$(BIN)/python -m tests.lab $(LAB)

.PHONY: lab-guest
lab-guest: packages ## as root: the lab's VRF (or LAB=name) in a virtual machine, on Debian's own kernel
	@sh tests/packages.sh image
	@sh tests/lab/guest.sh $(LAB)

.PHONY: bench
bench: $(VENV)/ready packages ## compare with nginx and HAProxy; writes docs/performance.md
	$(BIN)/python -m tests.bench $(BENCH)

.PHONY: appliance-install
appliance-install: ## as root on Debian 12 or 13: make this machine an appliance; WHEELS=folder: offline
	@WHEELS=$(WHEELS) sh appliance/install.sh

.PHONY: wheels
wheels: ## download the pinned wheels for Debian 12 and 13 into WHEELS=folder
	@sh appliance/wheels.sh $(or $(WHEELS),dist/wheels) 3.11 3.13

.PHONY: release
release: ## build a signed release: KEY=Ed25519 private key; wheels from WHEELS=folder or the network
	@sh appliance/release.sh "$(KEY)" "$(WHEELS)"

AUDIT := .venv-audit
.PHONY: image
image: $(AUDIT)/ready ## as root: bake the appliance's image with Packer into dist/image; FORMATS="qcow2 ova vhd"
	@sh tests/packages.sh image
	@sh packer/image.sh

.PHONY: image-test
image-test: $(VENV)/ready ## as root: start all of dist/image, and use it as an operator would; over an hour if emulated
	@sh tests/packages.sh image
	$(BIN)/python -m pytest -p no:cacheprovider -v -s -rs tests/image

.PHONY: image-judge
image-judge: $(VENV)/ready ## as root: what OpenSCAP, Lynis and systemd say of the image, IMAGE=file; JUDGE=--container: sooner
	@sh tests/packages.sh image
	$(BIN)/python -m tests.image.scans $(JUDGE) $(or $(IMAGE),$(lastword $(sort $(wildcard dist/image/*.qcow2))))

.PHONY: audit
audit: $(AUDIT)/ready ## ask for known vulnerabilities of everything pinned, where that is possible
	@sh tests/audit/audit.sh $(AUDIT)/bin/pip-audit

.PHONY: sbom
sbom: $(VENV)/ready $(AUDIT)/ready ## write the bill of materials (CycloneDX) into dist/
	@$(AUDIT)/bin/python tests/audit/bill.py requirements.txt \
	  "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" \
	  dist/agent-proxy.cdx.json

.PHONY: package
package: sbom ## build the wheel and its bill of materials into dist/
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir dist .

$(AUDIT)/ready: requirements-audit.txt
	@PYTHON=$(PYTHON) sh tests/venv.sh $(AUDIT)
	@echo "==> Installing pinned packages into $(AUDIT)"
	@$(AUDIT)/bin/python -m pip install -q --disable-pip-version-check --require-hashes \
	  -r requirements-audit.txt
	@touch $@

.PHONY: fuzz
fuzz: $(VENV)/ready ## fuzz the readers with atheris, FUZZ_SECONDS=60 each; exit 1 on a finding
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes \
	  --only-binary :all: -r requirements-fuzz.txt || echo "no atheris for this Python"
	@$(BIN)/python -m tests.fuzz --seconds $(or $(FUZZ_SECONDS),60)

.PHONY: soak
soak: $(VENV)/ready ## endurance: load and faults for SOAK_SECONDS=600, SOAK=options; exit 1 on a loss or growth
	$(BIN)/python -m tests.soak --seconds $(or $(SOAK_SECONDS),600) $(SOAK)

.PHONY: packages
packages: ## install the Debian packages that tests and bench use, where that is allowed
	@sh tests/packages.sh

.PHONY: clean
clean: ## remove what was built; keeps var/ with its ID, secret and certificate
	rm -rf $(VENV) $(AUDIT) build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/ready: requirements-dev.txt setup.py requirements.in
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; give one with make PYTHON=python3.11"; exit 1; }
	@PYTHON=$(PYTHON) sh tests/venv.sh $(VENV)
	@echo "==> Installing pinned packages into $(VENV)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes \
	  -r requirements-dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
