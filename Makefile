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
	@command -v clang >/dev/null || { $(AS_DEBIAN_ROOT) && echo "installing clang" && apt-get update -qq && \
		$(APT_INSTALL) clang >/dev/null; } || echo "clang is missing and cannot be installed here: its tests will be skipped"
	@command -v gcc >/dev/null || { $(AS_DEBIAN_ROOT) && echo "installing gcc" && apt-get update -qq && \
		$(APT_INSTALL) gcc libc6-dev >/dev/null; } || echo "gcc is missing and cannot be installed here: its tests will be skipped"
	@{ command -v cmake && command -v pkg-config && command -v g++; } >/dev/null || { $(AS_DEBIAN_ROOT) && echo "installing CMake" && \
		apt-get update -qq && $(APT_INSTALL) cmake make pkg-config g++ >/dev/null; } || \
		echo "CMake, pkg-config or g++ cannot be installed here: programs that find libraries by them are not tested"
	@test -d /usr/include/simde || { $(AS_DEBIAN_ROOT) && echo "installing SIMDe" && apt-get update -qq && \
		$(APT_INSTALL) libsimde-dev >/dev/null; } || echo "SIMDe cannot be installed here: AVX-512 is not tested where the processor lacks it"
	@{ command -v qemu-aarch64 && test -d /usr/aarch64-linux-gnu && test -d /usr/arm-linux-gnueabihf && test -d /usr/riscv64-linux-gnu; } >/dev/null || { $(AS_DEBIAN_ROOT) && echo "installing QEMU" && \
		apt-get update -qq && $(APT_INSTALL) qemu-user libc6-arm64-cross libc6-armhf-cross libc6-riscv64-cross >/dev/null; } || \
		echo "QEMU cannot be installed here: programs for ARM and RISC-V are built and not run"
	@command -v qemu-system-arm >/dev/null || { $(AS_DEBIAN_ROOT) && echo "installing QEMU's boards" && apt-get update -qq && \
		$(APT_INSTALL) qemu-system-arm >/dev/null; } || echo "QEMU's boards cannot be installed here: programs for Cortex-M are built and not run"
	@{ command -v sshd || test -x /usr/sbin/sshd; } >/dev/null || { $(AS_DEBIAN_ROOT) && echo "installing an SSH server" && \
		apt-get update -qq && $(APT_INSTALL) openssh-server openssh-client >/dev/null; } || \
		echo "OpenSSH cannot be installed here: deploying over SSH is not tested"
