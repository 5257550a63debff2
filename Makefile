# `make run` and `make test` set up what they need by themselves; the rest is for those who work on
# the project. See CONTRIBUTING.md.

BIN := .venv/bin
PACKAGES := drservice accounts workspace inference training benchmarks
LOCKS := web worker training run
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

# Options of `make run`, from the command line or the environment.
RUN_OPTIONS := $(if $(filter-out 0,$(ONCE)),--once) $(if $(IMAGES),--images "$(IMAGES)") \
	$(if $(PORT),--port $(PORT))

# Processes that share the tests, file by file. Each has its own mongod and Redis.
TEST_WORKERS ?= 2

# Reading the packages is most of a start; their bytecode is kept wherever this is called from.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONUNBUFFERED := 1

.PHONY: help run test lint doctor lock format

help:
	@echo "make run             set up, make the demo, grade a first case, serve until Ctrl-C"
	@echo "  ONCE=1             stop after the first case: 0 when it was graded"
	@echo "  IMAGES=DIR         submit your own photographs; names tell the eye (x_left.jpg, x_OD.png)"
	@echo "  PORT=9000          serve on another port"
	@echo "make test            lint, import contracts, migrations and the whole test suite"
	@echo "  TEST_WORKERS=0     in one process"
	@echo "make doctor          check every part and name each cure"
	@echo "make format          put the code into the project's form"
	@echo "make lock            renew requirements/*.txt from requirements/*.in (needs uv)"

run:
	@sh requirements/install.sh run
	@$(BIN)/python manage.py run_demo $(RUN_OPTIONS)

test: lint
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile

lint:
	@sh requirements/install.sh dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m compileall -q $(PACKAGES)

doctor:
	@$(BIN)/python manage.py doctor

format:
	@sh requirements/install.sh dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:
	cd requirements && $(COMPILE) dev.in -o dev.txt
	cd requirements && for name in $(LOCKS); do $(COMPILE) -c dev.txt $$name.in -o $$name.txt; done
