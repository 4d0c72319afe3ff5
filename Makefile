# Every target makes the environment first when it is missing: `make demo` works on a clean clone.
#   make demo       six edits of a shipped example picture, and a strip of them, into out/demo/
#   make test       the unit tests, under two minutes
#   make test-all   every test, those that take longer too
#   make check      lint, format, types, import contracts, then test-all
#   make benchmark  start-up seconds; the engine against the original's way (minutes, 8 GB)
#   make docs       the documentation site, into out/docs (open out/docs/index.html)
#   make notebooks  notebooks/*.ipynb again, from notebooks/text, with their outputs; minutes
#   make wheel      dist/styleclip-*.whl
#   make clean      what the other targets made, except the environment

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# A file of tests at a time in each of two processes, of one thread each: tiny networks gain nothing from more.
TEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.DELETE_ON_ERROR:
.PHONY: demo test test-all check benchmark docs notebooks wheel clean

demo: $(READY)
	$(BIN)/styleclip edit examples/portrait.png "a face with red hair" "a smiling face" \
		"a face with glasses" "a face with a beard" "a face wearing a beanie" \
		"a face with lipstick" --out out/demo --strip --force

test: $(READY)
	$(TEST) -m "not slow"

test-all: $(READY)
	$(TEST)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test-all

benchmark: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/speed.py --threads 2

docs: $(READY)
	$(BIN)/python docs/commands.py
	rm -rf out/docs
	$(BIN)/python -m sphinx -W --keep-going -n -E -q -d out/doctrees -b html docs out/docs
	@echo "open out/docs/index.html"

notebooks: $(READY)
	$(BIN)/python notebooks/build.py

wheel: $(READY)
	rm -rf build
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf build dist out src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# One pip command, so that the constraint decides which build of torch is taken.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"styleclip needs Python 3.11 or later; name one with: make PYTHON=/path/to/python3 ...")'
	@echo "Installing into .venv (the first time this takes some minutes)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
		-c constraints.txt torch -e '.[dev,portraits,ui,video,docs]'
	@touch $@
