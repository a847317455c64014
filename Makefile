.PHONY: test lint bench docs

test:
	pytest

lint:
	ruff check . && ruff format --check . && mypy

bench:
	fastadam bench --csv bench/results/bench.csv && python bench/charts.py

docs:
	python docs/assets/optimizers.py && python docs/assets/step.py
	python docs/assets/schedules.py
	mkdocs build --strict
