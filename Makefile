# The two commands are `make quickstart` and `make test`; `make` alone lists them all.
.DEFAULT_GOAL := help
.PHONY: help setup build test quick quickstart sanitize bench docs clean

PYTHON := .venv/bin/python
BUILD := build
CMAKE_FLAGS :=

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

setup: ## install what is missing (Debian packages, .venv with torch)
	@tools/setup

build: setup ## build the program at build/entrain
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_PREFIX_PATH="$$($(PYTHON) -c 'import torch; print(torch.utils.cmake_prefix_path)')" $(CMAKE_FLAGS) >$(BUILD).cmake.log 2>&1 || { cat $(BUILD).cmake.log; exit 1; }
	@cmake --build $(BUILD)

clean: ## remove what was built
	rm -rf build build-sanitize build.cmake.log build-sanitize.cmake.log
