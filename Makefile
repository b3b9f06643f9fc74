# The two commands are `make quickstart` and `make test`; `make` alone lists them all.
.DEFAULT_GOAL := help
.PHONY: help setup configure build test quick sanitize fuzz quickstart docs bench clean

PYTHON := .venv/bin/python
BUILD := build
CMAKE_FLAGS :=
ENTRAIN := build/entrain

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: ## install what is missing (Debian packages, .venv with torch)
	@tools/setup

configure: setup
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_PREFIX_PATH="$$($(PYTHON) -c 'import torch; print(torch.utils.cmake_prefix_path)')" \
	  $(CMAKE_FLAGS) >$(BUILD).cmake.log 2>&1 || { cat $(BUILD).cmake.log; exit 1; }

build: configure ## build the program at build/entrain
	@cmake --build $(BUILD) --target entrain

quickstart: build ## fetch text, train five models at equal FLOPs, print who won (some 25 minutes on 2 free cores)
	$(ENTRAIN) data fetch sword --out data/text
	$(ENTRAIN) tokenizer train --text data/text --vocab-size 4096 --out data/tokenizer.json
	$(ENTRAIN) data prepare --text data/text --tokenizer data/tokenizer.json --out data/sword
	$(ENTRAIN) compare recipes/quickstart.toml --out runs/quickstart

test: configure ## build everything and pass every test
	@cmake --build $(BUILD)
	@tools/setup tests
	@$(PYTHON) tools/check_structure.py
	@$(PYTHON) -m mypy
	@ctest --test-dir $(BUILD) -j2 --output-on-failure --no-tests=error
	@ENTRAIN=$(CURDIR)/$(ENTRAIN) $(PYTHON) -m pytest tests/e2e -q -rfEs

quick: configure ## build and pass the unit tests
	@cmake --build $(BUILD)
	@$(PYTHON) tools/check_structure.py
	@ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -LE slow

sanitize: ## unit tests under the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory configure BUILD=build-sanitize CMAKE_FLAGS="-DENTRAIN_SANITIZE=ON"
	@cmake --build build-sanitize --target text_tests ops_tests core_tests
	@for tests in text_tests ops_tests core_tests; do \
	  ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0 UBSAN_OPTIONS=print_stacktrace=1 timeout 3600 build-sanitize/$$tests --gtest_brief=1 || failed=1; \
	done; test -z "$$failed"  # a program each: loading torch a thousand times under a sanitizer takes longer than the tests

FUZZ_SECONDS := 60
FUZZ_SEED := 0
fuzz: ## every reader of foreign files against arbitrary bytes, FUZZ_SECONDS=60 each, FUZZ_SEED=0 for chance (clang)
	@tools/setup fuzz
	@cmake -S tests/fuzz -B build-fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ >build-fuzz.cmake.log 2>&1 || { cat build-fuzz.cmake.log; exit 1; }
	@cmake --build build-fuzz
	@tests/fuzz/run build-fuzz $(FUZZ_SECONDS) $(FUZZ_SEED)

docs: build ## write the generated page docs/config.md
	@$(ENTRAIN) config --docs >docs/config.md

bench: build ## the speed claims, each measured against its peer side by side
	@cmake --build $(BUILD)
	@tools/setup tests
	@$(BUILD)/bench_observation
	@for file in bench/*.py; do echo "== $$file"; $(PYTHON) $$file || exit 1; done

clean: ## remove what was built
	rm -rf build build-sanitize build-fuzz build-python build-fuzz.cmake.log build.cmake.log build-sanitize.cmake.log
