.DEFAULT_GOAL := help
.PHONY: help demo test lint format starter clean compilers
.DELETE_ON_ERROR:

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
TEST_LIMIT ?= 44m
TESTS ?= tests
APT_INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
# A condition that holds where something is installed, the Debian packages that bring it, and what is not tested without it.
tool = @{ $(1); } >/dev/null 2>&1 || { $(AS_DEBIAN_ROOT) && echo "installing $(2)" && apt-get update -qq && \
	$(APT_INSTALL) $(2) >/dev/null; } || echo "cannot install $(2), not tested: $(3)"
AS_DEBIAN_ROOT := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## compile two networks and compare them with ONNX Runtime: numbers and times
	$(BIN)/python examples/demo.py

test: $(INSTALLED) compilers ## all tests; TESTS=tests/ops picks some, JOBS=4 sets the processes
	OPENBLAS_NUM_THREADS=1 timeout --kill-after=30 $(TEST_LIMIT) $(BIN)/pytest -n $(JOBS) --dist worksteal --durations 20 $(TESTS)

lint: $(INSTALLED) ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## rewrite the Python files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

starter: $(INSTALLED) ## ship the fastest kernels of this machine's tuning database with the package
	$(BIN)/python benchmarks/starter.py

clean: ## remove what builds and tests leave behind; keeps the virtual environment
	rm -rf build dist out .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache src/*.egg-info
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian keeps the module that venv needs in a package of its own.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (set PYTHON=)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(AS_DEBIAN_ROOT) && apt-get update -qq && \
		$(APT_INSTALL) "python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; } \
		|| { echo "Python's ensurepip is missing: install the package python3-venv"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# The tests use every C compiler that they find: gcc with its sanitizers, clang, and zig, which comes with the Python packages;
# SIMDe computes AVX-512 on processors without it; QEMU runs programs for other architectures;
# an SSH server on the loopback interface stands for a device; CMake and pkg-config build programs that use libraries.
compilers:
	$(call tool,command -v clang,clang,programs compiled by it)
	$(call tool,command -v gcc,gcc libc6-dev,programs compiled by it)
	$(call tool,command -v cmake && command -v pkg-config && command -v g++,cmake make pkg-config g++,programs that find libraries by CMake and pkg-config)
	$(call tool,test -d /usr/include/simde,libsimde-dev,AVX-512 where the processor lacks it)
	$(call tool,command -v qemu-aarch64 && test -d /usr/aarch64-linux-gnu && test -d /usr/arm-linux-gnueabihf && test -d /usr/riscv64-linux-gnu,qemu-user libc6-arm64-cross libc6-armhf-cross libc6-riscv64-cross,programs for ARM and RISC-V)
	$(call tool,command -v qemu-system-arm,qemu-system-arm,programs for Cortex-M)
	$(call tool,command -v llvm-mca-22,llvm-22,cycles of cores that are not here)
	$(call tool,command -v sshd || test -x /usr/sbin/sshd,openssh-server openssh-client,deploying over SSH)
	$(call tool,command -v busybox,busybox,deploying to systems of BusyBox)